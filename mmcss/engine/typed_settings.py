"""The settings of mmcss in the user's config, with their types and defaults."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Dict, Literal, Mapping, Optional, Sequence, Tuple, Union

from mmengine.config import Config
from pydantic import Field

from ..arguments import Number, one_of
from ..files import plain
from ..losses.decode_loss import AVERAGE, Average
from ..memory.labels import DEFAULT_LABELS, LABELS
from ..memory.policies import POLICIES, named
from ..memory.samplers import Iterations
from ..models.extended_segmentors import DEFAULT_SCORES, UNKNOWN_SCORES
from ..models.method import Learning
from ..scenario import Protocol, TrainView
from ..scenario.views import Unknown

PartConfig = Mapping[str, Any]


@dataclass(frozen=True)
class MemorySettings:
    """What is remembered of earlier steps, and how it is replayed: ``continual.memory``."""

    size: Number
    policy: Union[str, PartConfig] = 'class_balanced'
    labels: Annotated[str, one_of(LABELS)] = DEFAULT_LABELS
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    iterations: Iterations = 'kept'
    export: bool = False

    def __post_init__(self) -> None:
        policy, labels = POLICIES.check(named(self.policy), 'policy'), LABELS[self.labels]
        if self.export and not labels.from_copies:
            raise ValueError(f"labels: got '{self.labels}', which copies of images don't have; remove export.")
        if policy.uses_features and not labels.true_classes:
            raise ValueError(f"policy: {policy.__name__} would use wrong classes with labels='{self.labels}'; take 'stored'.")


@dataclass(frozen=True)
class UnknownSettings:
    """The unknown class (SSUL), a channel for pixels of no class yet: ``continual.unknown``.

    With ``of='nothing'`` and ``scores='none'`` the channel has no label and no effect on predictions; parts use its rows
    (DKD).
    """

    of: Unknown
    folder: str = 'saliency_map'
    scores: Annotated[str, one_of(UNKNOWN_SCORES)] = DEFAULT_SCORES


@dataclass(frozen=True)
class MethodSettings(Learning):
    """How steps learn: ``continual``."""

    targets: Optional[PartConfig] = None
    losses: Mapping[str, PartConfig] = field(default_factory=dict)
    loss_decode: Optional[PartConfig] = None
    average: Average = AVERAGE
    ignore_as_background: bool = TrainView.ignore_as_background
    keep_old_labels: bool = TrainView.keep_old_labels
    unknown: Optional[UnknownSettings] = None
    classifier: Optional[PartConfig] = None
    memory: Optional[MemorySettings] = None
    online: Optional[PartConfig] = None

    def __post_init__(self) -> None:
        if self.memory and not LABELS[self.memory.labels].true_classes and not self.unknown:
            raise ValueError(f"memory: got labels='{self.memory.labels}', a mistake of released code about the unknown class; "
                             'set continual.unknown.')
        if self.online and not self.memory:
            raise ValueError('online: got a replay without a memory; set continual.memory.')

    @property
    def parts(self) -> Dict[str, PartConfig]:
        """The parts' configs by their keys in ``continual``."""
        targets = {'targets': self.targets} if self.targets else {}
        return {**targets, **{f'losses.{name}': part for name, part in self.losses.items()}}


@dataclass(frozen=True)
class RunSettings:
    """How the sequence of steps is run: ``run``.

    Args:
        steps: '3' or '1-4'; default: all.
        first_step_from: A work_dir or hand-over file of a trained step 0, or a checkpoint of MMSegmentation.
        classes: The names of the checkpoint's classes, or a file of them, where it has none.
        overwrite: Train finished steps again.
        hand_over: Which weights of a step are handed over to the next one.
        skip_broken: Leave out images that can't be read.
        rehearsal: Whether the steps are rehearsed on random images first.
        report: Whether a page about the run is written at its end.
    """

    steps: Union[Number, str, None] = None
    first_step_from: Union[str, Path, None] = None
    classes: Union[str, Sequence[str], None] = None
    overwrite: bool = False
    hand_over: Literal['last', 'best'] = 'last'
    skip_broken: bool = False
    rehearsal: bool = True
    report: bool = True


@dataclass(frozen=True)
class Settings:
    """The settings of a config.

    Attributes:
        user_cfg: The user's config, with types by name.
        cfg: The same with its profile applied.
        profile: Name of the profile.
        configs: ``cfg`` with ``first_step`` and with ``next_steps`` merged into it.
        methods: How step 0 and later steps learn.
        protocol: How steps are tested.
        protocol_name: The preset with these values, or 'custom'.
        run: How the sequence of steps is run.
        work_dir: Folder of all steps.
        run_name: Folder (which names the method) and name of the config.
    """

    user_cfg: Config
    cfg: Config
    profile: str
    configs: Tuple[Config, Config]
    methods: Tuple[MethodSettings, MethodSettings]
    protocol: Protocol
    protocol_name: str
    run: RunSettings
    work_dir: Path
    run_name: Path

    def config(self, step: int) -> Config:
        """The config of a step."""
        return self.configs[step > 0]

    def method(self, step: int) -> MethodSettings:
        """The method of a step."""
        return self.methods[step > 0]

    @property
    def stated_method(self) -> Dict[str, Any]:
        """``continual`` as in the config, by which the runs of a work_dir are told apart."""
        return plain(self.cfg.get('continual', {}))
