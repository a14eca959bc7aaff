"""What of the user's config is mmcss's own, and the scenario in it."""
from __future__ import annotations

import copy
import inspect
from dataclasses import fields
from typing import Any, Dict, Mapping, Optional, Tuple

from mmengine.config import Config
from mmseg.registry import MODELS

from ..datasets import BACKGROUND, POLICIES
from ..datasets.exemplars import LABELS
from ..datasets.policies import USES_FEATURES
from ..datasets.replay import ITERATIONS
from ..files import plain
from ..hooks.replays import REPLAYS
from ..models.extended import UNKNOWN_SCORES
from ..scenario import PROTOCOLS, SCENARIOS, Protocol, Scenario
from .class_settings import StepClasses
from .stated_classes import check_test_names, stated_names, tell_of_background
from .type_names import with_named_types

# Keys of the user's config that no step's config has.
OWN_KEYS = ('scenario', 'continual', 'protocol', 'profile', 'official', 'first_step', 'next_steps', 'run', 'runner_type')
CONTINUAL_KEYS = ('targets', 'losses', 'loss_decode', 'new_rows', 'average', 'ignore_as_background', 'keep_old_labels',
                  'unknown', 'classifier', 'frozen', 'row_lr', 'stages', 'memory', 'online', 'over_processes')
UNKNOWN_KEYS = ('of', 'folder', 'scores')
MEMORY_KEYS = ('size', 'policy', 'labels', 'share', 'iterations', 'export')
PROFILES = ('paper', 'official')


def with_profile(cfg: Config) -> Config:
    """The config of the profile that it asks for.

    ``profile='official'`` merges the method's ``official`` settings, one
    switch for each difference between the paper and the authors' code, into
    the config. They win over what the config says otherwise (to keep a
    setting of your own, put it into ``official``), and leave alone what an
    ablation has taken out or exchanged. Types are names in what is returned,
    see :func:`with_named_types`.

    Returns:
        A copy with neither key; the config itself where it has neither.

    Raises:
        ValueError: The profile is unknown, or the method has no official one.
    """
    profile = cfg.get('profile', 'paper')
    if profile not in PROFILES:
        raise ValueError(f'profile: got {profile!r}, valid are {", ".join(PROFILES)}.')
    cfg = with_named_types(cfg)
    if not {'profile', 'official'} & set(cfg):
        return cfg
    settings = cfg._cfg_dict.to_dict()
    settings.pop('profile', None)
    official = settings.pop('official', None)
    if profile == 'official':
        if official is None:
            raise ValueError("profile: this config's method has no 'official' settings.")
        _apply(official, settings)
    return Config(settings, filename=cfg.filename)


def _apply(official: Mapping[str, Any], settings: Dict[str, Any]) -> None:
    """Merge official settings in place; those of a part (a dict with a type) only where that part is."""
    for key, value in official.items():
        here = settings.get(key)
        if key in settings and here is None:  # taken out
            continue
        if not isinstance(value, Mapping) or isinstance(here, str):
            settings[key] = value
        elif isinstance(here, dict) and value.get('type') in (None, here.get('type')):
            _apply(value, here)
        elif key not in settings and 'type' not in value:
            _apply(value, settings.setdefault(key, {}))


def check_settings(cfg: Config) -> None:
    """Find what is missing or unknown in the user's config before anything runs.

    Raises:
        ValueError: Says what was got, what is valid and where to mend it.
    """
    missing = [key for key in ('model', 'scenario', 'train_dataloader', 'optim_wrapper', 'train_cfg') if not cfg.get(key)]
    if missing:
        raise ValueError(f'the config lacks {missing}; see the files below configs/_base_.')
    for key in ('scenario', 'continual', 'first_step', 'next_steps', 'run'):
        if not isinstance(cfg.get(key, {}), Mapping):
            raise ValueError(f'{key}: got {cfg[key]!r}, expected a dict.')
    _check_method(cfg)
    for key in ('first_step', 'next_steps'):
        steps = cfg.get(key, {})
        idle = sorted(set(steps) & (set(OWN_KEYS) - {'continual'}))
        if idle:
            raise ValueError(f'{key}: {idle} hold for all steps; set them outside of it.')
        if 'continual' in steps:
            merged = Config(copy.deepcopy(cfg._cfg_dict.to_dict()), filename=cfg.filename)
            merged.merge_from_dict(steps)
            _check_method(merged)
    protocol(cfg)


def _check_method(cfg: Config) -> None:
    method = cfg.get('continual', {})
    unknown = sorted(set(method) - set(CONTINUAL_KEYS))
    if unknown:
        raise ValueError(f'continual: unknown keys {unknown}, valid are {", ".join(CONTINUAL_KEYS)}.')
    if isinstance(method.get('frozen') or [], str):
        raise ValueError(f"continual.frozen: got {method['frozen']!r}, expected a list, such as [{method['frozen']!r}].")
    if not isinstance(method.get('over_processes', True), bool):
        raise ValueError(f"continual.over_processes: got {method['over_processes']!r}, valid are True, False.")
    for key, needed, valid in (('unknown', 'of', UNKNOWN_KEYS), ('memory', 'size', MEMORY_KEYS)):
        given = method.get(key)
        if given and not (isinstance(given, Mapping) and needed in given and set(given) <= set(valid)):
            raise ValueError(f'continual.{key}: got {plain(given)!r}, expected a dict with {needed}; '
                             f'valid are {", ".join(valid)}.')
    scores = (method.get('unknown') or {}).get('scores', 'sigmoid')
    if scores not in UNKNOWN_SCORES:
        raise ValueError(f'continual.unknown.scores: got {scores!r}, valid are {", ".join(UNKNOWN_SCORES)}.')
    memory = method.get('memory') or {}
    for key, valid in (('labels', LABELS), ('iterations', ITERATIONS), ('policy', POLICIES)):
        if memory.get(key, next(iter(valid))) not in valid:
            raise ValueError(f'continual.memory.{key}: got {memory[key]!r}, valid are {", ".join(valid)}.')
    labels = memory.get('labels', 'stored')
    if memory.get('export') and labels != 'stored':
        raise ValueError(f"continual.memory: labels='{labels}' asks for labels that copies have not; leave export out.")
    if labels == 'unshifted' and memory.get('policy') in USES_FEATURES:
        raise ValueError(f"continual.memory: policy '{memory['policy']}' would look at wrong classes with "
                         "labels='unshifted'.")
    if labels == 'unshifted' and not method.get('unknown'):
        raise ValueError("continual.memory: labels='unshifted' is a slip about the unknown class; set continual.unknown.")
    if method.get('online'):
        _check_online(method)
    if cfg.scenario.get('type') == 'DomainIncremental':
        _check_domains(method)


def _check_domains(method: Mapping[str, Any]) -> None:
    """Refuse what is about new classes where steps bring domains, with the labels of all classes."""
    idle = [f'continual.{key}' for key in ('targets', 'loss_decode', 'unknown', 'new_rows', 'classifier') if method.get(key)]
    idle += [f'continual.losses.{name}' for name, part in (method.get('losses') or {}).items()
             if part and getattr(MODELS.get(part['type']), 'about_new_classes', False)]
    if idle:
        raise ValueError(f'steps of domains bring no new classes, so that {", ".join(idle)} mean nothing there; take '
                         'methods/finetune, lwf, ilt, ewc, pi, rw, er, plop_domain or mib_domain of configs/_base_.')


def _check_online(method: Mapping[str, Any]) -> None:
    online, memory = method['online'], method.get('memory')
    REPLAYS.build(online, 'continual.online')
    if not memory:
        raise ValueError('continual.online: there is no memory to replay; set continual.memory.')
    idle = sorted({'share', 'iterations'} & set(memory))
    if idle:
        raise ValueError(f'continual.memory: {idle} mean nothing in online steps, whose batches are those of '
                         'train_dataloader.batch_size new images and continual.online.images remembered ones.')


def protocol(cfg: Config) -> Protocol:
    """How the config wants steps to be tested."""
    return _read_protocol(cfg, cfg.get('protocol', {}))


def protocol_name(cfg: Config) -> str:
    """The preset that the config's protocol is equal to, or 'custom'."""
    asked = protocol(cfg)
    return next((name for name in PROTOCOLS if _read_protocol(cfg, name) == asked), 'custom')


def _read_protocol(cfg: Config, options: Any) -> Protocol:
    valid = [field.name for field in fields(Protocol)]
    if isinstance(options, str) and options in PROTOCOLS:
        options = PROTOCOLS[options]
    if not isinstance(options, Mapping) or set(options) - set(valid):
        raise ValueError(f'protocol: got {options!r}, expected one of {", ".join(PROTOCOLS)}, or a dict of '
                         f'{", ".join(valid)}.')
    return Protocol(**dict(options, background=_scores_background(cfg, options.get('background', True))))


def _scores_background(cfg: Config, background: Any) -> bool:
    if background == 'listed':
        return BACKGROUND in stated_names(cfg.train_dataloader.dataset).listed
    if not isinstance(background, bool):
        raise ValueError(f"protocol.background: got {background!r}, valid are True, False, 'listed'.")
    return background


def build_scenario(cfg: Config) -> Scenario:
    """The scenario of a config, with the class names of its data set."""
    cfg = with_named_types(cfg)
    options = dict(cfg.scenario)
    kind = options.pop('type', 'ClassIncremental')
    if kind not in SCENARIOS:
        raise ValueError(f'scenario.type: got {kind!r}, valid are {", ".join(SCENARIOS)}.')
    names = stated_names(cfg.train_dataloader.dataset)
    tell_of_background(names)
    check_test_names(cfg, names)
    # Steps of domains know all classes: there is a background only where the data set has one.
    background = BACKGROUND if kind != 'DomainIncremental' or BACKGROUND in names.raw_ids else None
    try:
        return SCENARIOS[kind].from_config(names.foreground, background, **options)
    except TypeError as error:
        valid = list(inspect.signature(SCENARIOS[kind].from_config).parameters)[2:]
        raise ValueError(f'scenario: {error}; valid keys are type, {", ".join(valid)}.') from error


def listed_classes(cfg: Config, scenario: Scenario) -> Tuple[str, ...]:
    """All classes that the data set lists, in its order, which is that of lists with an entry for each class.

    A background that it does not list stands first; a scenario without one
    has none.
    """
    listed = stated_names(cfg.train_dataloader.dataset).listed
    background = scenario[0].background
    return listed if background is None or background in listed else (background, *listed)


def step_classes(cfg: Config, scenario: Scenario, step: int) -> StepClasses:
    """The classes of a step, and where the data set lists them."""
    listed = listed_classes(cfg, scenario)
    order = [listed.index(name) for split in scenario for name in split.new]
    return StepClasses(order, scenario[step].num_seen, len(listed), bool(cfg.get('continual', {}).get('unknown')))


def first_step_training(cfg: Config) -> Dict[str, Any]:
    """How the method trains step 0: what runs that share a step 0 should have in common.

    ``watching`` are the parts that gather something there and change nothing;
    without their ``loss_weight``, which counts in later steps.
    """
    method = cfg.get('continual', {})
    parts = {name: plain(part) for name, part in (method.get('losses') or {}).items()
             if part and acts_at_first_step(part)}
    watching = {name: {key: value for key, value in part.items() if key != 'loss_weight'}
                for name, part in parts.items() if getattr(MODELS.get(part['type']), 'watches_first_step', False)}
    loss = method.get('loss_decode')
    return dict(
        loss_decode=plain(loss) if loss and acts_at_first_step(loss) else None,
        losses={name: part for name, part in parts.items() if name not in watching},
        watching=watching,
        unknown=(method.get('unknown') or {}).get('of'),
        classifier=classifier_config(method.get('classifier')),
        average=method.get('average', 'valid'),
        ignore_as_background=bool(method.get('ignore_as_background', False)))


def classifier_config(classifier: Any) -> Optional[Dict[str, Any]]:
    """``continual.classifier`` as a dict; it may be the name of the type alone, or None."""
    return dict(type=classifier) if isinstance(classifier, str) else plain(classifier)


def acts_at_first_step(config: Mapping[str, Any]) -> bool:
    """Whether a part or a loss of that config is used at step 0 as well."""
    return bool(getattr(MODELS.get(config['type']), 'from_first_step', False))
