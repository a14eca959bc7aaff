"""What parts and replays need of a training beside its loop: its model and its updates."""
from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Union, cast

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import autocast
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..models import ContinualMixin

Batch = Mapping[str, List[Any]]


def unwrapped(model: nn.Module) -> ContinualMixin:
    """A student without its distributed wrapper, if it has one."""
    return cast(ContinualMixin, model.module if is_model_wrapper(model) else model)


class Training:
    """A model in training, and what updates it.

    Args:
        model: The student, in its distributed wrapper if it has one; the
            attribute ``model`` is the student itself.
        optim_wrapper: Updates it.
    """

    def __init__(self, model: nn.Module, optim_wrapper: Union[OptimWrapper, OptimWrapperDict]) -> None:
        self._wrapped = model
        self._optim_wrapper = optim_wrapper
        self.model = unwrapped(model)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer.

        Raises:
            ValueError: There are several.
        """
        if not hasattr(self._optim_wrapper, 'optimizer'):
            raise ValueError('optim_wrapper: got several optimizers, but this method needs a single one; use one optimizer, '
                             'or another method.')
        return self._optim_wrapper.optimizer

    def precision(self) -> ContextManager[None]:
        """A context in which models run in the mixed precision of the training, if it has one."""
        if isinstance(self._optim_wrapper, AmpOptimWrapper):
            return autocast(dtype=self._optim_wrapper.cast_dtype)
        return nullcontext()

    def preprocessed(self, batch: Batch) -> Dict[str, Any]:
        """A preprocessed copy of a batch (padding would change its samples in place)."""
        copied = dict(inputs=list(batch['inputs']), data_samples=copy.deepcopy(batch['data_samples']))
        return self.model.data_preprocessor(copied, True)

    def gradients(self, batch: Batch) -> Dict[nn.Parameter, Tensor]:
        """Gradients of a batch's loss in training mode, over all processes.

        The parameters' gradients are restored, and no part observes the batch.
        """
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        before = [p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        with self.precision(), self.model.unobserved():
            loss, _ = self.model.parse_losses(self._wrapped(**self.preprocessed(batch), mode='loss'))
        wrapper = self._optim_wrapper
        # As a tensor: reading the scale itself would wait for the device.
        scale = wrapper.loss_scaler.scale(torch.ones_like(loss)) if isinstance(wrapper, AmpOptimWrapper) else 1.0
        (loss * scale).backward()
        gradients = {p: p.grad / scale for p in parameters if p.grad is not None}
        for parameter, gradient in zip(parameters, before):
            parameter.grad = gradient
        return gradients

    def before_updates(self, act: Callable[[], None]) -> RemovableHandle:
        """Call ``act`` right before each update, to read or change the whole gradients, accumulated and unscaled.

        Raises:
            ValueError: There are several optimizers, or the optimizer
                unscales the gradients of mixed precision itself.
        """
        optimizer = self.optimizer
        # Such an optimizer unscales the gradients, and skips updates, within its kernel.
        if isinstance(self._optim_wrapper, AmpOptimWrapper) and getattr(optimizer, '_step_supports_amp_scaling', False):
            raise ValueError('optim_wrapper.optimizer: got a fused optimizer with mixed precision, which unscales the '
                             'gradients only after this method has used them. Leave fused=True out of it, or train without '
                             '--amp.')
        return optimizer.register_step_pre_hook(lambda *_: act())
