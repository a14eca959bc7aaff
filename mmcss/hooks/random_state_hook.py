"""Random numbers that survive a resume."""
from __future__ import annotations

import random
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

State = Dict[str, Any]


def random_state() -> State:
    """State of all random number generators of this process, in plain types and tensors."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state = dict(
        python=(version, torch.tensor(numbers), gauss),
        numpy=(kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)),
        torch=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: State) -> None:
    """Inverse of :func:`random_state`."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers.tolist()), gauss))
    kind, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


def on_cpu(value: Any) -> Any:
    """A nested value with its tensors on the CPU: mmengine loads checkpoints onto the device."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: on_cpu(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(on_cpu(entry) for entry in value)
    return value


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave the random numbers as they were before the block."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Stores each process's random state in checkpoints and restores it on resume.

    mmengine resumes the seed only, so that augmentation and dropout would
    start over. With this hook a run that was stopped and resumed at the end
    of an epoch equals the uninterrupted one, and validation leaves no trace
    in the training. Loops that count iterations resume the order of images
    and the main process's random numbers; their loader processes start anew,
    so that augmentations differ.
    """

    # After ContinualHook (whose pass over the data draws random numbers),
    # before CheckpointHook, which saves what is gathered here.
    priority = 'LOW'

    def __init__(self) -> None:
        self._loaded: Optional[State] = None
        self._states: List[State] = []
        self._before_val: Optional[State] = None

    def before_train_epoch(self, runner: Runner) -> None:
        if self._loaded is not None:
            set_random_state(self._loaded)
            if not hasattr(runner.train_loop, 'dataloader_iterator'):
                self._loaded = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._loaded is not None:  # the loader of a loop that counts iterations drew a seed as it started
            torch.set_rng_state(self._loaded['torch'])
            self._loaded = None

    def after_train_epoch(self, runner: Runner) -> None:
        # Only one process saves, so that all have to meet before.
        self._states = all_gather_object(random_state())

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and not hook.by_epoch and self.every_n_train_iters(
                    runner, hook.interval, hook.save_begin):
                self._states = all_gather_object(random_state())

    def before_val_epoch(self, runner: Runner) -> None:
        self._before_val = random_state()

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        set_random_state(self._before_val)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['random_states'] = self._states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        states = checkpoint.get('random_states', [])
        if runner._resume and get_rank() < len(states):
            self._loaded = on_cpu(states[get_rank()])
