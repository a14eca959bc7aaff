"""What of the user's config is mmcss's own: read once, checked whole, and typed from there on."""
from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Collection, Dict, Literal, Mapping, Optional, Sequence, Tuple, Union

from mmengine.config import Config
from mmseg.registry import MODELS
from pydantic import Field

from ..arguments import NotNegative, Number, arguments_of, check_names, check_value, make, one_of
from ..datasets import BACKGROUND, POLICIES
from ..datasets.exemplars import Labels
from ..datasets.policies import USES_FEATURES
from ..datasets.replay import Iterations
from ..files import plain
from ..losses.decode_loss import Average
from ..models import NEW_ROWS
from ..models.extended import DEFAULT_SCORES, UNKNOWN_SCORES
from ..scenario import PROTOCOLS, Protocol, TrainView
from ..scenario.views import Unknown
from .outline import check_outline
from .profiles import PROFILES, with_profile
from .stated_classes import stated_names
from .type_names import with_named_types

PartConfig = Mapping[str, Any]
# What is handed over to the next step.
HandedOver = Literal['last', 'best']
# What may be said apart for step 0 and for later ones.
STEPS = ('first_step', 'next_steps')


@dataclass(frozen=True)
class MemorySettings:
    """What is remembered of earlier steps, and how it is replayed: ``continual.memory``."""

    size: Number
    policy: Annotated[str, one_of(POLICIES)] = 'class_balanced'
    labels: Labels = 'stored'
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    iterations: Iterations = 'kept'
    export: bool = False

    def __post_init__(self) -> None:
        if self.export and self.labels != 'stored':
            raise ValueError(f"labels='{self.labels}' asks for labels that copies have not; leave export out.")
        if self.labels == 'unshifted' and self.policy in USES_FEATURES:
            raise ValueError(f"policy '{self.policy}' would look at wrong classes with labels='unshifted'.")

    @property
    def uses_features(self) -> bool:
        """Whether the policy looks at images through the model."""
        return self.policy in USES_FEATURES


@dataclass(frozen=True)
class UnknownSettings:
    """What is no class yet, and has a channel of its own (SSUL): ``continual.unknown``."""

    of: Unknown
    folder: str = 'saliency_map'
    scores: Annotated[str, one_of(UNKNOWN_SCORES)] = DEFAULT_SCORES


@dataclass(frozen=True)
class MethodSettings:
    """How steps learn: ``continual``."""

    targets: Optional[PartConfig] = None
    losses: Mapping[str, PartConfig] = field(default_factory=dict)
    loss_decode: Optional[PartConfig] = None
    new_rows: Annotated[str, one_of(NEW_ROWS)] = 'random'
    average: Average = 'valid'
    ignore_as_background: bool = TrainView.ignore_as_background
    keep_old_labels: bool = TrainView.keep_old_labels
    unknown: Optional[UnknownSettings] = None
    classifier: Optional[PartConfig] = None
    frozen: Sequence[str] = ()
    row_lr: Mapping[str, NotNegative] = field(default_factory=dict)
    stages: Sequence[str] = ()
    memory: Optional[MemorySettings] = None
    online: Optional[PartConfig] = None
    over_processes: bool = True

    def __post_init__(self) -> None:
        if self.memory and self.memory.labels == 'unshifted' and not self.unknown:
            raise ValueError("memory: labels='unshifted' is a slip about the unknown class; set continual.unknown.")
        if self.online and not self.memory:
            raise ValueError('online: there is no memory to replay; set continual.memory.')

    @property
    def parts(self) -> Dict[str, PartConfig]:
        """The parts' configs by their keys in ``continual``."""
        targets = {'targets': self.targets} if self.targets else {}
        return {**targets, **{f'losses.{name}': part for name, part in self.losses.items()}}


@dataclass(frozen=True)
class RunSettings:
    """What concerns the sequence of steps: ``run``.

    ``steps`` is '3' or '1-4' (default all), ``first_step_from`` a work_dir or
    hand-over file of a trained step 0 or a checkpoint of MMSegmentation, with
    its ``classes`` where it does not say them (names, or a file of them).
    """

    steps: Union[Number, str, None] = None
    first_step_from: Optional[str] = None
    classes: Union[str, Sequence[str], None] = None
    overwrite: bool = False
    hand_over: HandedOver = 'last'
    skip_broken: bool = False


@dataclass(frozen=True)
class Settings:
    """A config that has been read.

    Attributes:
        given: The config as it was given, with types by name.
        cfg: That of its profile.
        profile: Name of the profile.
        configs: How step 0 and later steps are trained: ``cfg`` with
            ``first_step`` and ``next_steps`` merged into it.
        methods: How step 0 and later steps learn.
        protocol: How steps are tested.
        run: What concerns the sequence.
    """

    given: Config
    cfg: Config
    profile: str
    configs: Tuple[Config, Config]
    methods: Tuple[MethodSettings, MethodSettings]
    protocol: Protocol
    run: RunSettings

    def config(self, step: int) -> Config:
        """How a step is trained."""
        return self.configs[step > 0]

    def method(self, step: int) -> MethodSettings:
        """How a step learns."""
        return self.methods[step > 0]

    @property
    def stated_method(self) -> Dict[str, Any]:
        """``continual`` by the letter, which tells runs of a work_dir from others."""
        return plain(self.cfg.get('continual', {}))

    @property
    def run_name(self) -> Path:
        """What a run is called: its config's folder, which says the method, and name."""
        file = Path(self.cfg.filename or 'run')
        return Path(file.absolute().parent.name, file.stem) if self.cfg.filename else file

    @property
    def work_dir(self) -> Path:
        """Folder of all steps."""
        return Path(self.cfg.get('work_dir') or Path('work_dirs') / self.run_name)

    @property
    def protocol_name(self) -> str:
        """The preset that the protocol is equal to, or 'custom'."""
        return next((name for name in PROTOCOLS if read_protocol(self.cfg, name) == self.protocol), 'custom')


def read_settings(cfg: Config) -> Settings:
    """Read the user's config.

    Raises:
        ValueError: A key is unknown, or a value is not what it should be.
            Names the key, what was got and what is valid.
    """
    given = with_named_types(cfg)
    check_outline(given)
    cfg = with_profile(given)
    configs = _merged(cfg, 'first_step'), _merged(cfg, 'next_steps')
    for steps, config in zip(STEPS, configs):
        check_outline(config, changed_by=steps)
    methods = read_method(configs[0]), read_method(configs[1])
    return Settings(given, cfg, given.get('profile', PROFILES[0]), configs, methods,
                    read_protocol(cfg, cfg.get('protocol', {})), make(RunSettings, cfg.get('run', {}), 'run'))


def _merged(cfg: Config, steps: str) -> Config:
    """A copy of a config with what it says of some steps."""
    merged = Config(copy.deepcopy(cfg._cfg_dict.to_dict()), filename=cfg.filename)
    try:
        merged.merge_from_dict(cfg.get(steps, {}))
    except (TypeError, KeyError) as error:  # a dict in place of something else, or the other way round
        raise ValueError(f'{steps}: {error}') from error
    return merged


def read_method(cfg: Config) -> MethodSettings:
    """What a config says of how steps learn.

    Raises:
        ValueError: See :func:`read_settings`.
    """
    given = {key: value for key, value in plain(cfg.get('continual', {})).items() if value is not None}
    check_names(given, arguments_of(MethodSettings), 'continual')
    check_value('continual.losses', given.get('losses', {}), Mapping[str, Optional[PartConfig]])
    given['losses'] = {name: part for name, part in given.get('losses', {}).items() if part is not None}
    for key, kind in (('memory', MemorySettings), ('unknown', UnknownSettings)):
        if key in given:
            check_value(f'continual.{key}', given[key], PartConfig)
            options = make(kind, given[key], f'continual.{key}')
            if key == 'memory' and 'online' in given:
                _refuse_idle(given['memory'])
            given[key] = options
    if isinstance(given.get('classifier'), str):
        given['classifier'] = dict(type=given['classifier'])
    method = make(MethodSettings, given, 'continual')
    if cfg.scenario.get('type') == 'DomainIncremental':
        _check_domains(method)
    return method


def _refuse_idle(memory: Collection[str]) -> None:
    idle = sorted({'share', 'iterations'} & set(memory))
    if idle:
        raise ValueError(f'continual.memory: {idle} mean nothing in online steps, whose batches are those of '
                         'train_dataloader.batch_size new images and continual.online.images remembered ones.')


def _check_domains(method: MethodSettings) -> None:
    """Refuse what is about new classes where steps bring domains, with the labels of all classes."""
    idle = [f'continual.{key}' for key in ('targets', 'loss_decode', 'unknown', 'classifier') if getattr(method, key)]
    idle += ['continual.new_rows'] if method.new_rows != MethodSettings.new_rows else []
    idle += [f'continual.losses.{name}' for name, part in method.losses.items()
             if getattr(MODELS.get(part['type']), 'about_new_classes', False)]
    if idle:
        raise ValueError(f'steps of domains bring no new classes, so that {", ".join(idle)} mean nothing there; take '
                         'methods/finetune, lwf, ilt, ewc, pi, rw, er, plop_domain or mib_domain of configs/_base_/.')


def read_protocol(cfg: Config, options: Any) -> Protocol:
    """A protocol by its preset's name or its fields.

    Raises:
        ValueError: See :func:`read_settings`.
    """
    if isinstance(options, str) and options in PROTOCOLS:
        options = PROTOCOLS[options]
    if not isinstance(options, Mapping):
        raise ValueError(f'protocol: got {options!r}, expected one of {", ".join(PROTOCOLS)}, or a dict.')
    options = dict(options)
    if options.get('background') == 'listed':
        options['background'] = BACKGROUND in stated_names(cfg.train_dataloader.dataset).listed
    return make(Protocol, options, 'protocol')


def acts_at_first_step(config: PartConfig) -> bool:
    """Whether a part or a loss of that config is used at step 0 as well."""
    return bool(getattr(MODELS.get(config['type']), 'from_first_step', False))
