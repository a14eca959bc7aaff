"""Whether what a step's config names is there, and takes what the config gives it."""
from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import Any, Collection, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmseg.registry import (EVALUATOR, HOOKS, LOG_PROCESSORS, LOOPS, METRICS, MODELS, OPTIM_WRAPPERS, OPTIMIZERS,
                            PARAM_SCHEDULERS, TRANSFORMS, VISBACKENDS, VISUALIZERS)
from torch.utils.data import DataLoader

from ..arguments import arguments_of, did_you_mean, takes_any, unknown_key
from ..files import plain, short
from .checks import _Numbers, _OnlyCounted

# What the stack takes of a loader's settings before the loader sees the others.
OF_THE_STACK = ('dataset', 'sampler', 'batch_sampler', 'worker_init_fn', 'collate_fn', 'num_batch_per_epoch',
                'disable_subprocess_warning')
GIVEN = ('runner', 'dataloader', 'evaluator', 'params', 'optimizer')  # by others, and no settings
MODEL_PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'loss_decode', 'data_preprocessor')


class _Images(_Numbers):
    """Stands for a data set where a loader is built."""

    def full_init(self) -> None:
        """Nothing to do."""


class Component(NamedTuple):
    """Something that is built from a config.

    Attributes:
        registry: Where its type is looked up.
        config: Its config.
        place: Full path of that.
        more: Settings besides those that its class takes.
    """

    registry: Registry
    config: Mapping[str, Any]
    place: str
    more: Tuple[str, ...] = ()


def check_components(configs: Sequence[Config]) -> None:
    """See that the components of steps exist and take their settings; build transforms and loaders.

    No data is read and no model is built.

    Args:
        configs: The plain config of each step; those behind step 1 have its
            components.

    Raises:
        ValueError: Names the step, the key, and the nearest valid one.
    """
    for step, config in enumerate(configs[:2]):
        try:
            _check_all(plain(config._cfg_dict))
        except ValueError as error:
            raise ValueError(f'step {step}: {error}') from error


def _check_all(settings: Dict[str, Any]) -> None:
    for one in _components(settings):
        _check(one)
    for role in ('train', 'val', 'test'):
        loader = settings.get(f'{role}_dataloader')
        if loader:
            _check_loader(loader, f'{role}_dataloader')
            for place, transform in _transforms(loader['dataset']['dataset'], f'{role}_dataloader.dataset'):
                _check(Component(TRANSFORMS, transform, place))
                with under_key(place, transform):
                    TRANSFORMS.build(dict(transform))


@contextmanager
def under_key(place: str, given: Any) -> Iterator[None]:
    """Within it something is built from a config; what that raises becomes an error of the config.

    Raises:
        ValueError: Names the place, what was got and what is wrong with it.
    """
    try:
        yield
    except Exception as error:  # any: a component may raise what it likes
        raise ValueError(f'{place}: got {short(given, 200)}, which can not be built: {type(error).__name__}: {error}') from error


def _components(settings: Dict[str, Any]) -> Iterator[Component]:
    wrapper = settings['optim_wrapper']
    if isinstance(wrapper.get('optimizer'), dict):  # several optimizers have a constructor of the user's own
        yield Component(OPTIM_WRAPPERS, dict(dict(type='OptimWrapper'), **wrapper), 'optim_wrapper',
                        ('constructor', 'paramwise_cfg'))
        yield Component(OPTIMIZERS, wrapper['optimizer'], 'optim_wrapper.optimizer')
    schedulers = settings.get('param_scheduler') or []
    if isinstance(schedulers, dict) and 'type' not in schedulers:  # those of several optimizers
        schedulers = []
    for place, one in _each(schedulers, 'param_scheduler'):
        yield Component(PARAM_SCHEDULERS, one, place, ('convert_to_iter_based', 'epoch_length'))
    for role in ('val', 'test'):
        if settings.get(f'{role}_cfg', {}).get('type'):
            yield Component(LOOPS, settings[f'{role}_cfg'], f'{role}_cfg')
        evaluator = settings.get(f'{role}_evaluator') or []
        if isinstance(evaluator, dict) and 'metrics' in evaluator:
            yield Component(EVALUATOR, dict(dict(type='Evaluator'), **evaluator), f'{role}_evaluator')
            yield from (Component(METRICS, one, place) for place, one in _each(evaluator['metrics'], f'{role}_evaluator.metrics'))
        else:
            yield from (Component(METRICS, one, place) for place, one in _each(evaluator, f'{role}_evaluator'))
    yield Component(VISUALIZERS, settings['visualizer'], 'visualizer')
    for place, one in _each(settings['visualizer'].get('vis_backends') or [], 'visualizer.vis_backends'):
        yield Component(VISBACKENDS, one, place)
    if (settings.get('log_processor') or {}).get('type'):
        yield Component(LOG_PROCESSORS, settings['log_processor'], 'log_processor')
    hooks = [(f'default_hooks.{name}', hook) for name, hook in (settings.get('default_hooks') or {}).items() if hook]
    hooks += _each(settings['custom_hooks'], 'custom_hooks')
    yield from (Component(HOOKS, hook, place, ('priority', )) for place, hook in hooks)
    yield from _model_parts(settings['model'], 'model')


def _model_parts(node: Any, place: str) -> Iterator[Component]:
    for key in MODEL_PARTS:
        for where, part in _each(node.get(key) or [], f'{place}.{key}'):
            yield Component(MODELS, part, where)
            yield from _model_parts(part, where)


def _each(configs: Any, place: str) -> List[Tuple[str, Any]]:
    """One config, or several in a list, with their places."""
    if isinstance(configs, (list, tuple)):
        return [(f'{place}[{i}]', one) for i, one in enumerate(configs)]
    return [(place, configs)]


def _check(one: Component) -> None:
    kind = one.config.get('type') if isinstance(one.config, Mapping) else None
    if kind is None:
        raise ValueError(f'{one.place}: got {short(one.config, 200)}, expected a dict with type.')
    found = one.registry.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise ValueError(f'{one.place}.type: got {kind!r}, which is not in the registry of this kind '
                         f'({one.registry.name}){did_you_mean(kind, _names(one.registry))}; is it a part of custom_imports?')
    _check_names(found, one.config, one.place, one.more)


def _check_names(takes: Any, given: Mapping[str, Any], place: str, more: Collection[str]) -> None:
    """See that something takes settings of these names; their values are its own matter."""
    valid = [*arguments_of(takes), *more]
    unknown = [name for name in given if name not in (*valid, 'type')]
    if unknown and not takes_any(takes):
        raise ValueError(unknown_key(unknown[0], [name for name in valid if name not in GIVEN], place))


def _names(registry: Registry) -> List[str]:
    parents = [] if registry.parent is None else _names(registry.parent)
    return [*registry.module_dict, *parents]


def _check_loader(loader: Mapping[str, Any], place: str) -> None:
    """Build a loader over nothing, with the processes that it asks for, which start when it is used."""
    valid = [*(name for name in arguments_of(DataLoader) if name not in OF_THE_STACK), *OF_THE_STACK]
    for name in loader:
        if name not in valid:
            raise ValueError(unknown_key(name, valid, place))
    images = _Images(8, 8)
    config = {key: value for key, value in loader.items() if key != 'num_batch_per_epoch'}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of more processes than the machine has cores: the run tells of it
        with under_key(place, {key: value for key, value in loader.items() if key != 'dataset'}):
            try:
                Runner.build_dataloader(dict(config, dataset=images), seed=0)
            except _OnlyCounted:  # it looks at the images
                pass


def _transforms(dataset: Mapping[str, Any], place: str) -> Iterator[Tuple[str, Mapping[str, Any]]]:
    """All transforms of a data set's config and of those that it holds."""
    for where, one in _each(dataset.get('datasets') or [], f'{place}.datasets'):
        yield from _transforms(one, where)
    if 'dataset' in dataset:
        yield from _transforms(dataset['dataset'], f'{place}.dataset')
    yield from ((where, one) for where, one in _each(dataset.get('pipeline') or [], f'{place}.pipeline'))
