"""Learning rates of single rows of a parameter."""
from __future__ import annotations

from typing import List

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.hooks import RemovableHandle

from ..models.freezing import hold_rows
from .data_pass import bare_model


@HOOKS.register_module()
class RowRatesHook(Hook):
    """Freezes or slows down rows of the classifier, whatever the optimizer; see :func:`hold_rows`."""

    # After the parts are ready.
    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        self._handles: List[RemovableHandle] = []
        model = bare_model(runner)
        if model.row_rates:
            self._handles = hold_rows(runner.optim_wrapper.optimizer, model, model.row_rates)

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()
