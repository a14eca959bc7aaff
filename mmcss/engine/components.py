"""Checks that the components named in a step's config exist and accept their settings."""
from __future__ import annotations

import os
import re
import traceback
import warnings
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import Parameter
from pathlib import Path
from typing import Any, Collection, Container, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from mmseg.registry import (DATA_SAMPLERS, DATASETS, EVALUATOR, HOOKS, LOG_PROCESSORS, LOOPS, METRICS, MODELS, OPTIM_WRAPPERS,
                            OPTIMIZERS, PARAM_SCHEDULERS, TRANSFORMS, VISBACKENDS, VISUALIZERS)
from torch.utils.data import DataLoader

from ..arguments import arguments_of, check_names, check_value, did_you_mean, takes_any, unknown_key
from ..files import plain, short
from .checks import Numbers, OnlyCounted
from .config_nodes import class_of, values_of
from .outline import ALIKE

# Settings of a loader that mmengine removes before it builds the loader.
OF_THE_STACK = ('dataset', 'sampler', 'batch_sampler', 'worker_init_fn', 'collate_fn', 'num_batch_per_epoch',
                'disable_subprocess_warning')
# Arguments that mmengine or mmcss passes; they are no settings.
PASSED = ('runner', 'dataloader', 'evaluator', 'params', 'optimizer', 'continual', 'distributed', 'dataset_names')
SHOWN = 12  # names of a registry in a message
ROLES = ('train', 'val', 'test')
# Settings of hooks and metrics that name folders outside of the work_dir.
FOLDERS = ('out_dir', 'output_dir', 'test_out_dir', 'collect_dir')
OF_SCHEDULERS = ('convert_to_iter_based', 'epoch_length')
PART = r'(backbone|neck|decode_head|auxiliary_head|loss_decode|data_preprocessor)'
DATASET = r'\w+_dataloader\.dataset(\.datasets?(\[\d+\])?)*'
# What is built from the config at a place: pattern of the place, registry, settings besides those of the class, default
# type ('': not built without a type; None: a type is required).
KINDS: Sequence[Tuple[str, Registry, Tuple[str, ...], Optional[str]]] = (
    (r'optim_wrapper', OPTIM_WRAPPERS, ('constructor', 'paramwise_cfg'), 'OptimWrapper'),
    (r'optim_wrapper\.optimizer', OPTIMIZERS, (), None),
    (r'param_scheduler', PARAM_SCHEDULERS, OF_SCHEDULERS, ''), (r'param_scheduler\[\d+\]', PARAM_SCHEDULERS, OF_SCHEDULERS, None),
    (r'(train|val|test)_cfg', LOOPS, (), ''), (r'log_processor', LOG_PROCESSORS, (), ''),
    (r'\w+_evaluator(\.metrics)?\[\d+\]|\w+_evaluator\.metrics', METRICS, (), None),
    (r'\w+_evaluator', EVALUATOR, (), 'Evaluator'),
    (r'visualizer', VISUALIZERS, (), None), (r'visualizer\.vis_backends(\[\d+\])?', VISBACKENDS, (), None),
    (r'default_hooks\.\w+|custom_hooks\[\d+\]', HOOKS, ('priority', ), None),
    (rf'model(\.{PART}(\[\d+\])?)*', MODELS, (), None), (DATASET, DATASETS, ('lazy_init', ), None),
    (rf'{DATASET}\.pipeline\[\d+\]', TRANSFORMS, (), None),
    (r'\w+_dataloader\.(batch_)?sampler', DATA_SAMPLERS, ('seed', ), None))


class Component(NamedTuple):
    """Something that is built from the config at ``place``; ``more`` are settings besides those that its class takes."""

    registry: Registry
    config: Mapping[str, Any]
    place: str
    more: Tuple[str, ...] = ()

    @property
    def cls(self) -> Any:
        """The class or function that is called, None if its type is not registered."""
        return class_of(self.registry, self.config.get('type'))


def check_components(configs: Sequence[Config], taken: Container[int] = ()) -> None:
    """Make sure that the components of steps exist and accept their settings, and that loaders can be built.

    No data is read and no model is built.

    Args:
        configs: The plain config of each step; later steps have the components of step 1.
        taken: Steps that are taken from another run, whose settings don't matter.

    Raises:
        ValueError: Names the step, the key, and the nearest valid one.
    """
    for step, config in enumerate(configs[:2]):
        if step in taken:
            continue
        settings = plain(config._cfg_dict)
        try:
            for component in _components(settings):
                _check_class(component)
                _check_folders(component)
            _check_names(set_multi_processing, settings.get('env_cfg', {}).get('mp_cfg', {}), 'env_cfg.mp_cfg', ())
            for role in ROLES:
                if settings.get(f'{role}_dataloader'):
                    _check_loader(settings, f'{role}_dataloader')
        except ValueError as error:
            raise ValueError(f'step {step}: {error}') from error


def check_weights(config: Config, step: int) -> None:
    """See that the files of weights that a step's model starts from are there; nothing is downloaded for it.

    Raises:
        FileNotFoundError: One is not. Names its key.
    """
    settings = plain(config._cfg_dict)
    stated = [(place, node) for place, node in values_of(dict(model=settings['model'], load_from=settings.get('load_from')))
              if re.search(r'(^|\.)(pretrained|load_from|init_cfg(\[\d+\])?\.checkpoint)$', place)]
    for place, file in stated:
        if isinstance(file, str) and '://' not in file and not os.path.isfile(file):
            raise FileNotFoundError(f'step {step}: {place}: got {file!r}, but there is no such file in {os.getcwd()}. Put it '
                                    f'there, give another one (--cfg-options {place}=FILE), or None for random weights.')


@contextmanager
def under_key(place: str, config: Any, settings: Mapping[str, Any]) -> Iterator[None]:
    """A context in which something is built from the config at ``place``; ``settings`` is the plain config of the step.

    Raises:
        ValueError: In place of any error; names the place, the config, the error and what is valid.
    """
    try:
        yield
    except Exception as error:  # any: components are not mmcss's
        if str(error).startswith('continual.'):  # it names its place
            raise
        place, config = being_built(error, place, config)
        raise ValueError(f'{place}: got {short(config, 200)}, which cannot be built: {type(error).__name__}: {error}'
                         f'{expectation(settings, place)}') from error


def being_built(error: BaseException, place: str, outer: Any) -> Tuple[str, Any]:
    """Place and config of the innermost component that was being built when an error was raised."""
    nodes = list(values_of(plain(outer), place))
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_name == 'build_from_cfg':
            config = plain(frame.f_locals.get('cfg'))
            for where, node in nodes:
                if node == config:
                    return where.replace('model.continual.', 'continual.'), node
    return place, outer


def expectation(settings: Mapping[str, Any], place: str) -> str:
    """What is valid where a component fails, as the end of a sentence.

    Annotations are consulted after a failure only, since stock classes don't keep to theirs strictly.
    """
    components = [component for component in _components(settings) if component.cls is not None
                  and (component.place == place or component.place.startswith((f'{place}.', f'{place}[')))]
    for component in components:
        arguments = arguments_of(component.cls)
        for name, value in component.config.items():
            mismatch = _mismatch(f'{component.place}.{name}', value, arguments[name]) if name in arguments else None
            if mismatch:
                return f'; {mismatch}'
    if not components or components[0].place != place:
        return '.'
    names = ', '.join(f'{name}={short(argument.default)}' if argument.default is not argument.empty else name
                      for name, argument in arguments_of(components[0].cls).items() if name not in PASSED)
    return f'; expected as in {components[0].cls.__name__}({names}).'


def _mismatch(key: str, value: Any, argument: Parameter) -> Optional[str]:
    """How a value violates its argument's annotation, unless it is a config; lists pass for tuples."""
    if argument.annotation is argument.empty or any(isinstance(node, dict) for _, node in values_of(value)):
        return None
    for candidate in (value, tuple(value)) if isinstance(value, list) else (value, ):
        try:
            check_value(key, candidate, argument.annotation)
            return None
        except ValueError as error:
            problem = str(error)
    return problem


def _components(settings: Mapping[str, Any]) -> Iterator[Component]:
    """All components of a step's config, data sets at their places in the user's config."""
    settings = dict(settings)
    if not isinstance(settings['optim_wrapper'].get('optimizer'), dict):  # several optimizers: a constructor of the user's
        del settings['optim_wrapper']
    for role in ROLES:
        loader = settings.get(f'{role}_dataloader')
        if loader:
            settings[f'{role}_dataloader'] = dict(loader, dataset=loader['dataset']['dataset'])
    for place, node in values_of(settings):
        for pattern, registry, more, default in KINDS if node is not None else ():
            if re.fullmatch(pattern, place) and not (isinstance(node, list) or default == '' and 'type' not in node):
                yield Component(registry, dict(dict(type=default), **node) if default else node, place, more)


def _check_folders(component: Component) -> None:
    for key in FOLDERS:
        folder = component.config.get(key)
        if isinstance(folder, str) and '://' not in folder:
            path = Path(folder).absolute()
            existing = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
            if not (existing.is_dir() and os.access(existing, os.W_OK)):
                raise ValueError(f'{component.place}.{key}: got {folder!r}, expected a writable folder; {existing} is none.')


def _check_class(component: Component) -> None:
    kind = component.config.get('type') if isinstance(component.config, Mapping) else None
    if kind is None:
        raise ValueError(f'{component.place}: got {short(component.config, 200)}, expected a dict with type.')
    if component.cls is None:
        names = _names(component.registry)
        few = f'{", ".join(names[:SHOWN])}{", ..." if len(names) > SHOWN else ""}'
        raise ValueError(f'{component.place}.type: got {kind!r}, which is not in the registry of this kind '
                         f'({component.registry.name}){did_you_mean(kind, names)}; valid are {few}, and those of custom_imports.')
    _check_names(component.cls, component.config, component.place, component.more)


def _check_names(takes: Any, settings: Mapping[str, Any], place: str, more: Collection[str]) -> None:
    """Make sure that a class or function takes settings of these names, whatever their values.

    Where a class that is not mmcss's takes any name, only slips of the pen are refused.
    """
    valid = list(dict.fromkeys([*arguments_of(takes), *more]))
    unknown = [name for name in settings if name not in (*valid, 'type', '_scope_')]
    if takes_any(takes, itself=not takes.__module__.startswith('mmcss.')):
        unknown = [name for name in unknown if get_close_matches(name, valid, n=1, cutoff=ALIKE)]
    if unknown:
        message = unknown_key(unknown[0], [name for name in valid if name not in PASSED], place)
        merged = (' Where first_step or next_steps replace it, set _delete_=True there, or the keys of both are merged.'
                  if place in ('train_cfg', 'optim_wrapper.optimizer') else '')
        raise ValueError(f'{message[:-1]}, of {takes.__name__}.{merged}')


def _names(registry: Registry) -> List[str]:
    parents = [] if registry.parent is None else _names(registry.parent)
    return [*registry.module_dict, *parents]


def _check_loader(settings: Mapping[str, Any], place: str) -> None:
    """Build a loader over numbers in place of images; its workers would start when it is used."""
    loader = dict(settings[place])
    check_names(loader, list(dict.fromkeys([*arguments_of(DataLoader), *OF_THE_STACK])), place)
    del loader['dataset']
    config = dict(loader, dataset=Numbers(8, 8))
    config.pop('num_batch_per_epoch', None)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of more workers than cores: the run warns itself
        with under_key(place, loader, settings):
            try:
                Runner.build_dataloader(config, seed=0)
            except OnlyCounted:  # the sampler or collate_fn reads images
                pass
