"""The key of a config that caused an error of its runner."""
from __future__ import annotations

import re
import traceback
from types import FrameType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.runner import Runner

from ..arguments import under
from ..datasets import StepDataset
from ..files import plain, short
from ..models import ContinualMixin
from .components import being_built, expectation

AN_OBJECT = re.compile(r' in <[^>]* object at 0x[^>]*>')  # how mmengine names a hook
# Keys of the components that a runner builds, by the names of its methods.
BUILDS = dict(
    build_train_loop='train_cfg', build_val_loop='val_cfg', build_test_loop='test_cfg', build_optim_wrapper='optim_wrapper',
    build_param_scheduler='param_scheduler', build_visualizer='visualizer', build_log_processor='log_processor',
    build_logger='log_level', set_randomness='randomness', build_model='model', scale_lr='auto_scale_lr')
# The user's keys that make a step's config add these hooks.
STEP_HOOKS = dict(MemoryHook='continual.memory', ContinualHook='continual',
                 RowRatesHook='continual.frozen', BestWeightsHook='run.hand_over', ResultHook='test_evaluator')


def hook_keys(config: Config) -> Dict[int, str]:
    """The key of each hook's config, by the config's id; for hooks that mmcss adds, the user's key that asks for them."""
    return {**{id(hook): f'default_hooks.{name}' for name, hook in (config.get('default_hooks') or {}).items()},
            **{id(hook): STEP_HOOKS.get(hook.type, f'custom_hooks[{i}]') for i, hook in enumerate(config.custom_hooks)}}


def message_of(error: Exception, runner: Runner, config: Config, keys: Mapping[int, str]) -> str:
    """The message for an error: the key that caused it, the key's value, and the error itself.

    The cause is the innermost component on the call stack that the config
    has a key for.

    Args:
        runner: The runner of the config that raised the error, as far as it was built.
        keys: The keys of hooks and their configs, by id (:func:`hook_keys`).
    """
    known: Dict[int, str] = {**keys, **_keys(runner)}
    chain: List[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    frames = [frame for raised in chain for frame, _ in traceback.walk_tb(raised.__traceback__)]
    keys_of_frames = (_frame_key(frame, frames, runner, known) for frame in reversed(frames))
    key, moment = next(filter(None, keys_of_frames), ('the config', 'train'))
    key, value = _located(config, key)
    if isinstance(error, FloatingPointError):  # from numbers, not from one component
        return f'on random images: {str(error).partition(": ")[2]}'
    if isinstance(error, ValueError) and 'got ' in str(error):  # it is complete
        has_key = str(error).startswith(('continual.', key))
        return str(error) if has_key else under(key, error, value if isinstance(value, Mapping) else ())
    key, value = being_built(error, key, value)
    got = '' if value is None else f'got {short(plain(value), 200)}, which fails '
    return (f'{key}: {got}on random images (in {moment}): {type(error).__name__}: {AN_OBJECT.sub("", str(error))}'
            f'{expectation(plain(config._cfg_dict), key)}')


def _keys(runner: Runner) -> Dict[int, str]:
    """The key of each component that is built, by its id."""
    keys: Dict[int, str] = {}
    model = getattr(runner, 'model', None)
    if isinstance(model, ContinualMixin):
        keys.update((id(module), f'model.{name}'.rstrip('.')) for name, module in model.named_modules())
        for name, part in {**model.method.parts, **model.method.observers}.items():
            keys[id(part)] = 'continual.targets' if name == 'targets' else f'continual.losses.{name}'
    for role in ('val', 'test'):
        evaluator = getattr(getattr(runner, f'_{role}_loop', None), 'evaluator', None)
        for i, metric in enumerate(getattr(evaluator, 'metrics', ())):
            keys[id(metric)] = f'{role}_evaluator[{i}]'
    wrapper, schedulers = getattr(runner, 'optim_wrapper', None), getattr(runner, 'param_schedulers', None)
    keys.update({id(wrapper): 'optim_wrapper', id(getattr(wrapper, 'optimizer', wrapper)): 'optim_wrapper.optimizer',
                 id(getattr(runner, 'visualizer', wrapper)): 'visualizer'})
    schedulers = schedulers if isinstance(schedulers, list) else []
    keys.update((id(scheduler), f'param_scheduler[{i}]') for i, scheduler in enumerate(schedulers))
    return keys


def _frame_key(frame: FrameType, frames: Sequence[FrameType], runner: Runner,
               keys: Mapping[int, str]) -> Optional[Tuple[str, str]]:
    """The key of the component that a frame runs in, and the name of its function."""
    owner, name = frame.f_locals.get('self'), frame.f_code.co_name
    functions = [caller.f_code.co_name for caller in frames]
    owners = [caller.f_locals['self'] for caller in frames if 'self' in caller.f_locals]
    role = next((role for role in ('val', 'test') if f'build_{role}_loop' in functions
                 or any(loop is getattr(runner, f'_{role}_loop', None) for loop in owners)), 'train')
    if isinstance(owner, StepDataset):
        return f'{role}_dataloader.dataset.pipeline', name
    if name == 'build_dataloader':
        return f'{role}_dataloader', name
    if owner is runner and name == 'build_evaluator':
        return f'{role}_evaluator', name
    if owner is runner and name in BUILDS:
        return BUILDS[name], name
    holders = (owner, frame.f_locals.get('hook'))
    return next(((keys[id(holder)], name) for holder in holders if holder is not None and id(holder) in keys), None)


def _located(config: Config, key: str) -> Tuple[str, Any]:
    """The part of a key that exists in a step's config, and its value."""
    if key.endswith('.pipeline'):  # it is deeper in a step's data set
        return key, None
    node: Any = config.model if key.startswith('continual') else config
    names = re.findall(r'[^.\[\]]+', key)
    for number, name in enumerate(names):
        try:
            node = node[int(name)] if name.isdigit() else node[name]
        except (KeyError, IndexError, TypeError):
            rest = '.'.join(names[number:])
            return (key[:-len(rest) - 1], node) if number and key.endswith(f'.{rest}') else (key, None)
    return key, node
