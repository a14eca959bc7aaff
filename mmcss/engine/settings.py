"""Reads and checks the user's config: typed settings and the scenario."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Collection, Literal, Mapping, Optional, Union

from mmengine.config import Config

from ..arguments import arguments_of, check_arguments, check_names, check_value, make
from ..datasets import BACKGROUND
from ..files import plain
from ..memory.replay import REPLAYS
from ..models.part_configs import CLASSIFIERS, DECODE_LOSSES, PARTS, check_losses, classifier_config
from ..scenario import PROTOCOLS, SCENARIOS, Protocol, Scenario
from .class_settings import StepClasses
from .config_nodes import with_settings
from .outline import check_outline
from .packaged_files import without_own_scope
from .profiles import PROFILES, with_profile
from .stated_classes import check_test_names, stated_names, warn_of_background
from .type_names import with_named_types
from .typed_settings import MemorySettings, MethodSettings, RunSettings, Settings, UnknownSettings

# Keys whose settings apply to step 0, and to later steps.
STEPS = ('first_step', 'next_steps')


def read_settings(cfg: Union[Config, Settings]) -> Settings:
    """Read and check the user's config; settings are returned as they are.

    Raises:
        ValueError: A key is unknown, or a value is invalid. Names the key, what was got and what is valid.
    """
    if isinstance(cfg, Settings):
        return cfg
    named = with_named_types(without_own_scope(cfg))
    check_outline(named)
    cfg = with_profile(named)
    configs = _merged(cfg, 'first_step'), _merged(cfg, 'next_steps')
    for steps, config in zip(STEPS, configs):
        check_outline(config, changed_by=steps)
    methods = read_method(configs[0]), read_method(configs[1])
    for key in ('unknown', 'classifier'):
        if getattr(methods[0], key) != getattr(methods[1], key):
            raise ValueError(f'continual.{key}: got {getattr(methods[0], key)} at step 0 and {getattr(methods[1], key)} later, '
                             'expected the same at all steps; set it outside of first_step and next_steps.')
    protocol = read_protocol(cfg, cfg.get('protocol', {}))
    preset = next((name for name in PROTOCOLS if read_protocol(cfg, name) == protocol), 'custom')
    file = Path(cfg.filename or 'run')
    run_name = Path(file.absolute().parent.name, file.stem) if cfg.filename else file
    return Settings(named, cfg, named.get('profile', PROFILES[0]), configs, methods, protocol, preset,
                    make(RunSettings, plain(cfg.get('run', {})), 'run'),
                    Path(cfg.get('work_dir') or Path('work_dirs') / run_name), run_name)


def _merged(cfg: Config, steps: str) -> Config:
    """A copy of a config with its settings under ``first_step`` or ``next_steps`` merged into it."""
    merged = with_settings(cfg, copy.deepcopy(cfg._cfg_dict.to_dict()))
    try:
        merged.merge_from_dict(copy.deepcopy(cfg.get(steps, {})))
    except (TypeError, KeyError) as error:  # a dict meets another kind of value
        raise ValueError(_clash(cfg, cfg.get(steps, {}), steps) or f'{steps}: {error}') from error
    return merged


def _clash(node: Mapping[str, Any], changes: Mapping[str, Any], place: str) -> Optional[str]:
    """The message about the first dict that would be merged into a value of another kind."""
    for key, value in changes.items():
        here = node.get(key)
        if isinstance(value, Mapping) and here is not None:
            clash = _clash(here, value, f'{place}.{key}') if isinstance(here, Mapping) else (
                f'{place}.{key}: got {plain(value)}, which can be merged into a dict only; the config has {here!r} there.')
            if clash:
                return clash
    return None


def read_method(cfg: Config) -> MethodSettings:
    """The settings under ``continual``; errors as in :func:`read_settings`."""
    values = {key: value for key, value in plain(cfg.get('continual', {})).items() if value is not None}
    check_names(values, arguments_of(MethodSettings), 'continual')
    check_losses(values.get('losses', {}), 'continual.losses')
    values['losses'] = {name: part for name, part in values.get('losses', {}).items() if part is not None}
    values['classifier'] = classifier_config(values.get('classifier'))
    for key, check in (('targets', PARTS.check), ('loss_decode', DECODE_LOSSES.check), ('classifier', CLASSIFIERS.check),
                       ('online', REPLAYS.build)):  # replays compare their arguments with one another
        if values.get(key) is not None:
            check(values[key], f'continual.{key}')
    for key, kind in (('memory', MemorySettings), ('unknown', UnknownSettings)):
        if key in values:
            if not isinstance(values[key], Mapping):
                raise ValueError(f'continual.{key}: got {values[key]!r}, expected a dict of {", ".join(arguments_of(kind))}.')
            options = make(kind, values[key], f'continual.{key}')
            if key == 'memory' and 'online' in values:
                _refuse_replay_settings(values['memory'])
            values[key] = options
    method = make(MethodSettings, values, 'continual')
    if cfg.scenario.get('type') == 'DomainIncremental':
        _check_domains(method)
    return method


def _refuse_replay_settings(memory: Collection[str]) -> None:
    idle = sorted({'share', 'iterations'} & set(memory))
    if idle:
        raise ValueError(f'continual.memory: got {idle}, which have no effect in online steps, whose batches have '
                         'train_dataloader.batch_size new and continual.online.images remembered images. Remove them.')


def _check_domains(method: MethodSettings) -> None:
    """Refuse settings about new classes where steps add domains, in which all classes are labelled."""
    idle = [f'continual.{key}' for key in ('targets', 'loss_decode', 'unknown', 'classifier') if getattr(method, key)]
    idle += ['continual.new_rows'] if method.new_rows != MethodSettings.new_rows else []
    idle += [f'continual.losses.{name}' for name, part in method.losses.items() if PARTS.class_of(part).about_new_classes]
    if idle:
        raise ValueError(f'{", ".join(idle)}: no effect, because steps of domains add no classes; take '
                         'methods/finetune, lwf, ilt, ewc, pi, rw, er, plop_domain or mib_domain of configs/_base_/.')


def read_protocol(cfg: Config, options: Any) -> Protocol:
    """A protocol from the name of a preset or its fields; errors as in :func:`read_settings`."""
    if isinstance(options, str) and options in PROTOCOLS:
        options = PROTOCOLS[options]
    if not isinstance(options, Mapping):
        raise ValueError(f'protocol: got {options!r}, expected one of {", ".join(PROTOCOLS)}, or a dict of '
                         f'{", ".join(arguments_of(Protocol))}.')
    options = dict(options)
    check_value('protocol.background', options.get('background', True), Union[bool, Literal['listed']])
    if options.get('background') == 'listed':
        options['background'] = BACKGROUND in stated_names(cfg.train_dataloader.dataset).listed
    return make(Protocol, options, 'protocol')


def build_scenario(cfg: Union[Config, Settings]) -> Scenario:
    """The scenario of a config, with the class names of its data set; errors as in :func:`read_settings`."""
    settings = read_settings(cfg)
    options = dict(settings.cfg.scenario)
    kind = options.pop('type', 'ClassIncremental')
    from_config = SCENARIOS[kind].from_config
    check_arguments(from_config, options, 'scenario', skip=('classes', 'background'))
    names = stated_names(settings.cfg.train_dataloader.dataset)
    warn_of_background(names)
    check_test_names(settings.cfg, names)
    # Steps of domains label all classes: there is a background only where the data set has one.
    background = BACKGROUND if kind != 'DomainIncremental' or BACKGROUND in names.raw_ids else None
    return from_config(names.foreground, background, **options)


def step_classes(settings: Settings, scenario: Scenario, step: int) -> StepClasses:
    """The classes of a step, and their positions in the data set's list, with a background that it does not list first."""
    listed, background = stated_names(settings.cfg.train_dataloader.dataset).listed, scenario[0].background
    if background is not None and background not in listed:
        listed = (background, *listed)
    order = [listed.index(name) for split in scenario for name in split.new]
    return StepClasses(order, scenario[step].num_seen, len(listed), settings.method(step).unknown is not None)
