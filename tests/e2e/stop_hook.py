"""Ends a run in the middle of an epoch."""
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class StopHook(Hook):
    """Stops after an iteration of a step: by an exception, or as ``kill -9`` does."""

    def __init__(self, step, iteration, kill=False):
        self.step, self.iteration, self.kill = step, iteration, kill

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.model.split.step == self.step and runner.iter == self.iteration:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
