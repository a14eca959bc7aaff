"""A progress line for people who don't read logs."""
from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Dict

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..arguments import ABSENT


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints a step's progress ten times; meant for ``log_level='ERROR'``, which silences the log."""

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        self._start, self._first = time.time(), runner.iter

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Dict[str, Any] = ABSENT) -> None:
        done, total = runner.iter + 1, runner.max_iters
        if not is_main_process() or done * 10 // total == (done - 1) * 10 // total:
            return
        left = (time.time() - self._start) / (done - self._first) * (total - done)
        print(f'{runner.cfg.experiment_name}: {100 * done // total:3d} %, loss {float(outputs["loss"]):.3f}, '
              f'{timedelta(seconds=round(left))} left', flush=True)
