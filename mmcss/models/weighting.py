"""How the weights of a method's pixels reach the stock losses of a decode head."""
from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import Any, Callable, Dict, Optional

import torch.nn as nn
from torch import Tensor

from .heads import MASK_HEADS, UNSAMPLED_HEADS, is_a
from .shadowing import shadow


def weigh_losses(head: nn.Module, weight: Tensor, stack: ExitStack) -> Callable[[], bool]:
    """Weigh the pixels of a decode head's losses for a while.

    Args:
        head: The decode head.
        weight: ``[N, 1, 1]`` or ``[N, H, W]`` factors.
        stack: Ends it.

    Returns:
        Tells afterwards whether a loss has taken the weights.
    """
    if is_a(head, MASK_HEADS):
        return _weigh_queries(head, weight, stack)
    if is_a(head, UNSAMPLED_HEADS):
        shadow(head, 'loss_decode', _weighted(head.loss_decode, weight, head.num_classes), stack)
        return lambda: True
    head = getattr(head, 'kernel_generate_head', head)  # K-Net
    sampler = PixelWeights(getattr(head, 'sampler', None), weight)
    shadow(head, 'sampler', sampler, stack)
    return lambda: sampler.asked


class PixelWeights:
    """A pixel sampler that multiplies another one's weights.

    Takes the place of a decode head's ``sampler``, through which
    MMSegmentation hands weights to every ``loss_decode``.
    """

    def __init__(self, inner: Optional[Any], weight: Tensor) -> None:
        self.inner = inner
        self.weight = weight
        self.asked = False

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """``[N, H, W]`` weights for ``[N, C, H, W]`` logits and ``[N, 1, H, W]`` labels."""
        self.asked = True
        if self.inner is None:
            return self.weight.expand(seg_label.squeeze(1).shape)
        return self.weight * self.inner.sample(seg_logit, seg_label)


class WeightedLoss(nn.Module):
    """A ``loss_decode`` with weights that its head does not hand to it.

    A loss that takes weights is given them; of another (OHEM) the gradient of
    each pixel's logits is multiplied, which comes to the same but for the
    value that is logged. Outputs that are no logits of classes (boundaries)
    are left alone.

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
        self.takes_weight = 'weight' in inspect.signature(inner.forward).parameters

    @property
    def loss_name(self) -> str:
        """The loss's."""
        return self.inner.loss_name

    def forward(self, logits: Tensor, label: Tensor, **options: Any) -> Tensor:
        """The loss of ``[N, C, H, W]`` logits, or ``[N, C, P]`` of points, and labels without channel."""
        if logits.shape[1] != self.num_classes:
            return self.inner(logits, label, **options)
        weight = self.weight
        if label.dim() == 2:
            if weight.shape[1:] != (1, 1):
                raise ValueError('the weights are those of pixels, and this loss is taken at points; use another head.')
            weight = weight.flatten(1)
        if self.takes_weight:
            return self.inner(logits, label, weight=weight.expand(label.shape), **options)
        return self.inner(scale_gradient(logits, weight.unsqueeze(1)), label, **options)


def scale_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x`` itself, whose gradient is multiplied by ``factor`` on its way back."""
    if not x.requires_grad:
        return x
    x = x.view_as(x)
    x.register_hook(lambda gradient: gradient * factor)
    return x


def _weighted(losses: nn.Module, weight: Tensor, num_classes: int) -> nn.Module:
    if isinstance(losses, nn.ModuleList):
        return nn.ModuleList(WeightedLoss(loss, weight, num_classes) for loss in losses)
    return WeightedLoss(losses, weight, num_classes)


def _weigh_queries(head: nn.Module, weight: Tensor, stack: ExitStack) -> Callable[[], bool]:
    """Multiply the gradient of each image's queries: matched masks are no pixels that could be weighed."""
    if weight.shape[1:] != (1, 1):
        raise ValueError(f'the weights are those of pixels, and {type(head).__name__} classifies masks; use another head.')
    original = head.loss_by_feat

    def scaled(layers: Any) -> Any:
        if isinstance(layers, Tensor):  # [layers, N, ...]
            return scale_gradient(layers, weight.view(1, -1, *[1] * (layers.dim() - 2)))
        return [scale_gradient(layer, weight.view(-1, *[1] * (layer.dim() - 1))) for layer in layers]

    def loss_by_feat(class_logits: Any, masks: Any, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return original(scaled(class_logits), scaled(masks), *args, **kwargs)

    shadow(head, 'loss_by_feat', loss_by_feat, stack)
    return lambda: True
