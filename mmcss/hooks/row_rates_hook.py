"""Learning rates of single rows of a parameter."""
from __future__ import annotations

from typing import Dict, List

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from .data_pass import bare_model


@HOOKS.register_module()
class RowRatesHook(Hook):
    """Holds rows of the classifier, or slows them down, whatever the optimizer.

    After each update a row moves back to ``rate`` times the way it has come:
    the same as a parameter group with that factor on its learning rate, also
    with momentum and weight decay. A row of rate 0 stays bit by bit, and
    shows the optimizer no gradient.
    """

    # After the parts are ready, before training.
    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        self._handles: List = []
        model = bare_model(runner)
        parameters = dict(model.named_parameters())
        rates = {parameters[name]: rate.to(parameters[name]) for name, rate in model.row_rates.items()}
        if not rates:
            return
        self._handles = hold_rows(runner.optim_wrapper.optimizer, rates)

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()


def hold_rows(optimizer: torch.optim.Optimizer, rates: Dict[nn.Parameter, Tensor]) -> List:
    """Let each update of an optimizer reach rows by their rate.

    Args:
        optimizer: The optimizer.
        rates: For each parameter factors that broadcast over it.

    Returns:
        Handles whose ``remove`` ends it.
    """
    before: Dict[nn.Parameter, Tensor] = {}

    def keep(*_) -> None:
        for parameter in rates:
            before[parameter] = parameter.detach().clone()

    @torch.no_grad()
    def move_back(*_) -> None:
        for parameter, rate in rates.items():
            start = before[parameter]
            # Exact where the rate is 0 or 1.
            slower = torch.where(rate == 1, parameter, start + rate * (parameter - start))
            parameter.copy_(torch.where(rate == 0, start, slower))

    handles = [optimizer.register_step_pre_hook(keep), optimizer.register_step_post_hook(move_back)]
    for parameter, rate in rates.items():
        handles.append(parameter.register_hook(lambda gradient, moves=(rate != 0): gradient * moves))
    return handles
