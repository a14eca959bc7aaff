"""Which key of a config caused an error that its runner raised."""
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

AN_OBJECT = re.compile(r' in <[^>]* object at 0x[^>]*>')  # mmengine adds the hook so
# What the runner was building, by the names of its methods.
BUILDS = dict(
    build_train_loop='train_cfg', build_val_loop='val_cfg', build_test_loop='test_cfg', build_optim_wrapper='optim_wrapper',
    build_param_scheduler='param_scheduler', build_visualizer='visualizer', build_log_processor='log_processor',
    build_logger='log_level', set_randomness='randomness', build_model='model', scale_lr='auto_scale_lr')
# The user's key behind each hook that a step's config adds.
STEP_HOOKS = dict(MemoryHook='continual.memory', ContinualHook='continual',
                 RowRatesHook='continual.frozen', BestWeightsHook='run.hand_over', ResultHook='test_evaluator')


def hook_keys(config: Config) -> Dict[int, str]:
    """The key of each hook's config, by its identity; hooks that a step adds go by the key that asks for them."""
    keys = {id(hook): f'default_hooks.{name}' for name, hook in (config.get('default_hooks') or {}).items()}
    keys.update((id(hook), STEP_HOOKS.get(hook.type, f'custom_hooks[{i}]')) for i, hook in enumerate(config.custom_hooks))
    return keys


def message_of(error: Exception, runner: Runner, config: Config, keys: Mapping[int, str]) -> str:
    """The message for an error: which key caused it, the key's value, and the error itself.

    The cause is the component that raised it: the innermost one on the call
    stack that the config has a key for.

    Args:
        error: What was raised.
        runner: Whose training or test raised it, as far as it was built.
        config: The runner's.
        keys: Of hooks and their configs, by identity (:func:`hook_keys`).
    """
    known: Dict[int, str] = {**keys, **_keys(runner)}
    chain: List[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    frames = [frame for raised in chain for frame, _ in traceback.walk_tb(raised.__traceback__)]
    keys_of_frames = (_frame_key(frame, frames, runner, known) for frame in reversed(frames))
    key, moment = next(filter(None, keys_of_frames), ('the config', 'train'))
    key, value = _located(config, key)
    if isinstance(error, FloatingPointError):  # a matter of numbers, not of one component
        return f'on random images: {str(error).partition(": ")[2]}'
    if isinstance(error, ValueError) and 'got ' in str(error):  # it says all that there is to say
        settled = str(error).startswith(('continual.', key))
        return str(error) if settled else under(key, error, value if isinstance(value, Mapping) else ())
    key, value = being_built(error, key, value)
    got = '' if value is None else f'got {short(plain(value), 200)}, which fails '
    return (f'{key}: {got}on random images (in {moment}): {type(error).__name__}: {AN_OBJECT.sub("", str(error))}'
            f'{expectation(plain(config._cfg_dict), key)}')


def _keys(runner: Runner) -> Dict[int, str]:
    """The key of each component that is built, by its identity."""
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
    names = [other.f_code.co_name for other in frames]
    owners = [other.f_locals['self'] for other in frames if 'self' in other.f_locals]
    role = next((role for role in ('val', 'test') if f'build_{role}_loop' in names
                 or any(other is getattr(runner, f'_{role}_loop', None) for other in owners)), 'train')
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
    """The part of a path that exists in a step's config, and the value there."""
    if key.endswith('.pipeline'):  # a step's data set has it further inside
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
