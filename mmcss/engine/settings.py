"""What of the user's config is mmcss's own, and the scenario in it."""
from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, Iterator, Mapping, Sequence, Tuple

from mmengine.config import Config
from mmseg.registry import DATASETS

from ..datasets import BACKGROUND, name_classes
from ..scenario import SCENARIOS, ClassIncremental, Protocol

# Keys of the user's config that no step's config has.
OWN_KEYS = ('scenario', 'continual', 'protocol', 'first_step', 'next_steps', 'run', 'runner_type')
CONTINUAL_KEYS = ('targets', 'losses', 'loss_decode', 'new_rows', 'ignore_as_background')


def check_settings(cfg: Config) -> None:
    """Find what is missing or unknown in the user's config before anything runs.

    Raises:
        ValueError: Says what was got, what is valid and where to mend it.
    """
    missing = [key for key in ('model', 'scenario', 'train_dataloader', 'optim_wrapper', 'train_cfg') if not cfg.get(key)]
    if missing:
        raise ValueError(f'the config lacks {missing}; see the files below configs/_base_.')
    unknown = sorted(set(cfg.get('continual', {})) - set(CONTINUAL_KEYS))
    if unknown:
        raise ValueError(f'continual: unknown keys {unknown}, valid are {", ".join(CONTINUAL_KEYS)}.')
    protocol(cfg)


def protocol(cfg: Config) -> Protocol:
    """How the config wants steps to be tested."""
    options = cfg.get('protocol', {})
    valid = [field.name for field in fields(Protocol)]
    if not isinstance(options, Mapping) or set(options) - set(valid):
        raise ValueError(f'protocol: got {options!r}, expected a dict of {", ".join(valid)}.')
    return Protocol(**options)


def build_scenario(cfg: Config) -> ClassIncremental:
    """The scenario of a config, with the class names of its data set."""
    options = dict(cfg.scenario)
    kind = options.pop('type', 'ClassIncremental')
    if kind not in SCENARIOS:
        raise ValueError(f'scenario.type: got {kind!r}, valid are {", ".join(SCENARIOS)}.')
    names = name_classes(*_stated_classes(cfg.train_dataloader.dataset))
    try:
        return SCENARIOS[kind].from_config(names.foreground, BACKGROUND, **options)
    except TypeError as error:
        valid = list(inspect.signature(SCENARIOS[kind].from_config).parameters)[2:]
        raise ValueError(f'scenario: {error}; valid keys are type, {", ".join(valid)}.') from error


def class_positions(cfg: Config, scenario: ClassIncremental) -> Sequence[int]:
    """For each class in learning order, its position in the data set's list.

    The background stands at 0, also where the data set does not list it.
    """
    names = name_classes(*_stated_classes(cfg.train_dataloader.dataset))
    listed = [BACKGROUND, *names.foreground]
    return [listed.index(name) for split in scenario for name in split.new]


def leaf_configs(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The stock data sets' configs inside wrappers."""
    if 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from leaf_configs(inner)
    elif 'dataset' in dataset:
        yield from leaf_configs(dataset['dataset'])
    else:
        yield dataset


def _stated_classes(dataset: Mapping[str, Any]) -> Tuple[Sequence[str], bool]:
    """Class names of a data set and whether it leaves value 0 out, without opening it."""
    leaf = next(leaf_configs(dataset))
    cls = DATASETS.get(leaf['type']) if isinstance(leaf['type'], str) else leaf['type']
    if cls is None:
        raise ValueError(f"train_dataloader.dataset: {leaf['type']!r} is not in the DATASETS registry; import it "
                         'through custom_imports.')
    classes = leaf.get('metainfo', {}).get('classes') or cls.METAINFO.get('classes')
    if not classes:
        raise ValueError(f"the class names of {leaf['type']} are not known: give metainfo=dict(classes=[...]) "
                         'in train_dataloader.dataset.')
    return tuple(classes), bool(leaf.get('reduce_zero_label', _default_reduce_zero_label(cls)))


def _default_reduce_zero_label(cls: type) -> bool:
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        if 'reduce_zero_label' in parameters:
            return bool(parameters['reduce_zero_label'].default)
    return False
