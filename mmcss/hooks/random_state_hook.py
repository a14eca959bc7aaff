"""Random states that survive a resume."""
from __future__ import annotations

from typing import Any, Dict, List, Optional

import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..random_state import State, random_state, set_random_state
from .finite_hook import saves_now


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Stores each process's random state in checkpoints and restores it on resume.

    mmengine resumes the seed only, so that augmentation and dropout would start over. With this hook a run that was stopped
    and resumed at the end of an epoch equals the uninterrupted one, and validation does not change the training. Loops that
    count iterations resume the order of images and the main process's random numbers; their loader processes start anew,
    so that augmentations differ.
    """

    # After ContinualHook, whose passes draw random numbers, and before CheckpointHook, which saves the states.
    priority = 'LOW'

    def __init__(self) -> None:
        self._loaded: Optional[State] = None
        self._states: List[State] = []
        self._before_val: State = {}

    def before_train_epoch(self, runner: Runner) -> None:
        if self._loaded is not None:
            set_random_state(self._loaded)
            if not hasattr(runner.train_loop, 'dataloader_iterator'):
                self._loaded = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._loaded is not None:  # the loader of a loop that counts iterations drew a seed as it started
            torch.set_rng_state(self._loaded['torch'].cpu())
            self._loaded = None

    def after_train_epoch(self, runner: Runner) -> None:
        # Gathered before the checkpoint, which the main process saves alone.
        self._states = all_gather_object(random_state())

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[Dict[str, Any]] = None) -> None:
        if saves_now(runner):
            self._states = all_gather_object(random_state())

    def before_val_epoch(self, runner: Runner) -> None:
        self._before_val = random_state()

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        set_random_state(self._before_val)

    def before_save_checkpoint(self, runner: Runner, checkpoint: Dict[str, Any]) -> None:
        checkpoint['random_states'] = self._states

    def after_load_checkpoint(self, runner: Runner, checkpoint: Dict[str, Any]) -> None:
        states = checkpoint.get('random_states', [])
        if runner._resume and get_rank() < len(states):
            self._loaded = states[get_rank()]
