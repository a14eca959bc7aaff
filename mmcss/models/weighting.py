"""Multiplies the stock losses of a decode head with a method's pixel weights."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Dict, Optional

import torch.nn as nn
from mmengine.model import BaseModule
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor

from ..losses.decode_loss import DecodeLoss
from .heads import MASK_HEADS, is_a
from .overriding import override_attribute

# Losses that multiply each pixel's loss with ``weight``. Others may take an argument of that name with another
# meaning (DiceLoss: a weight for each image) or none (LovaszLoss).
TAKE_WEIGHTS = (CrossEntropyLoss, DecodeLoss)


def weigh_losses(head: BaseModule, weight: Tensor, stack: ExitStack) -> Callable[[], bool]:
    """Multiply the losses of a decode head's pixels with ``weight``, ``[N, 1, 1]`` or ``[N, H, W]``, until ``stack`` closes.

    Returns:
        A function that returns afterwards whether any loss was weighed.
    """
    if is_a(head, MASK_HEADS):
        return _weigh_queries(head, weight, stack)
    head = getattr(head, 'kernel_generate_head', head)  # K-Net
    stock = head.loss_decode
    several = isinstance(stock, nn.ModuleList)
    losses = [WeightedLoss(loss, weight, head.num_classes) for loss in (stock if several else [stock])]
    override_attribute(head, 'loss_decode', nn.ModuleList(losses) if several else losses[0], stack)
    return lambda: any(loss.was_used for loss in losses)


class WeightedLoss(nn.Module):
    """A ``loss_decode`` with a method's pixel weights.

    Losses of :data:`TAKE_WEIGHTS` get them, times those of the head. For any
    other (OHEM, Dice, Lovasz) the gradient of each pixel's logits is
    multiplied, which is the same for a sum over pixels, except for the logged
    value. Outputs that are no class logits (boundaries) and the losses from
    which a pixel sampler chooses hard pixels are not weighed.

    Args:
        inner: The loss.
        weight: ``[N, 1, 1]`` or ``[N, H, W]``.
        num_classes: Channels of class logits.
    """

    def __init__(self, inner: nn.Module, weight: Tensor, num_classes: int) -> None:
        super().__init__()
        self.inner = inner
        self.weight = weight
        self.num_classes = num_classes
        self.was_used = False

    @property
    def loss_name(self) -> str:
        """That of the inner loss."""
        return str(self.inner.loss_name)

    def forward(self, logits: Tensor, label: Tensor, weight: Optional[Tensor] = None, **options: Any) -> Tensor:
        """The loss of ``[N, C, H, W]`` logits, or ``[N, C, P]`` of points, and labels without channel."""
        if weight is not None:
            options['weight'] = weight
        if logits.shape[1] != self.num_classes or options.get('reduction_override') == 'none':
            return self.inner(logits, label, **options)
        self.was_used, factors = True, self.weight
        if label.dim() == 2:
            if factors.shape[1:] != (1, 1):
                raise ValueError('got weights of pixels, but this decode head takes its loss at points; use another head.')
            factors = factors.flatten(1)
        if isinstance(self.inner, TAKE_WEIGHTS):
            options['weight'] = factors.expand(label.shape) if weight is None else factors * weight
            return self.inner(logits, label, **options)
        return self.inner(scale_gradient(logits, factors.unsqueeze(1)), label, **options)


def scale_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x``, whose gradient is multiplied by ``factor``."""
    if not x.requires_grad:
        return x
    x = x.view_as(x)
    x.register_hook(lambda gradient: gradient * factor.to(gradient.dtype))
    return x


def _weigh_queries(head: BaseModule, weight: Tensor, stack: ExitStack) -> Callable[[], bool]:
    """Multiply the gradient of each image's queries: masks are matched as a whole, so that pixels have no losses."""
    if weight.shape[1:] != (1, 1):
        raise ValueError(f'got weights of pixels, but {type(head).__name__} classifies masks; use another head.')
    original = head.loss_by_feat

    def scaled(layers: Any) -> Any:
        if isinstance(layers, Tensor):  # [layers, N, ...]
            return scale_gradient(layers, weight.view(1, -1, *[1] * (layers.dim() - 2)))
        return [scale_gradient(layer, weight.view(-1, *[1] * (layer.dim() - 1))) for layer in layers]

    def loss_by_feat(class_logits: Any, masks: Any, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return original(scaled(class_logits), scaled(masks), *args, **kwargs)

    override_attribute(head, 'loss_by_feat', loss_by_feat, stack)
    return lambda: True
