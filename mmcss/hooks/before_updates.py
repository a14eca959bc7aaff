"""A place right before each update of the weights.

Gradients are whole there, whatever accumulates or scales them.
"""
from __future__ import annotations

from typing import Callable

from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


def one_optimizer(runner: Runner) -> Optimizer:
    """The optimizer of a runner.

    Raises:
        ValueError: There are several.
    """
    if not hasattr(runner.optim_wrapper, 'optimizer'):
        raise ValueError('this method looks at the updates of one optimizer, and this optim_wrapper has several; take '
                         'one, or another method.')
    return runner.optim_wrapper.optimizer


def before_updates(runner: Runner, act: Callable[[], None]) -> RemovableHandle:
    """Call ``act`` right before each update, to read or change the gradients of the parameters.

    Raises:
        ValueError: There are several optimizers, or the optimizer takes the
            factor of mixed precision away itself.
    """
    optimizer = one_optimizer(runner)
    # With such an optimizer the factor of mixed precision, and the updates that it skips, are the kernel's own.
    if isinstance(runner.optim_wrapper, AmpOptimWrapper) and getattr(optimizer, '_step_supports_amp_scaling', False):
        raise ValueError('this method acts on gradients without the factor of mixed precision, which a fused optimizer '
                         'takes away too late. Leave fused=True out of optim_wrapper.optimizer, or train without --amp.')
    return optimizer.register_step_pre_hook(lambda *_: act())
