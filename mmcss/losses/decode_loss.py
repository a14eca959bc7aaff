"""The base of losses that replace a decode head's cross-entropy."""
from __future__ import annotations

from typing import Annotated, Any, Literal, Optional, Sequence

import torch
import torch.nn as nn
from pydantic import Field
from torch import Tensor

from ..arguments import Checked, NotNegative, Number
from .reduce import mean_over_valid

Average = Literal['valid', 'all']
AVERAGE: Average = 'valid'
LossName = Annotated[str, Field(pattern='^loss_')]  # any other name is logged, but not trained on


class DecodeLoss(Checked, nn.Module):
    """A ``loss_decode`` of any decode head, from a loss per pixel.

    Subclasses define :meth:`per_pixel`. They are used from step 1 on; those
    that set ``from_first_step``, at step 0 as well. Those that set
    ``reads_batch`` get the :class:`StepBatch` as ``batch``, and have to
    respect its ``over_processes`` themselves.

    Args:
        num_old: Number of old classes, background included; 0 at step 0. The
            step's config fills it in.
        loss_weight: Factor on the loss.
        loss_name: Name in the log; starts with 'loss_'.
        average: What the sum is divided by: the number of 'valid' pixels, or
            of 'all', ignored ones included.
        class_weight: Factor on the loss of pixels by their label, which does
            not change the divisor; None for 1.
    """

    from_first_step: bool = False
    reads_batch: bool = False
    class_weight: Optional[Tensor]

    def __init__(self, num_old: Number, loss_weight: NotNegative = 1.0, loss_name: LossName = 'loss_ce',
                 average: Average = AVERAGE,
                 class_weight: Optional[Annotated[Sequence[NotNegative], Field(min_length=1)]] = None) -> None:
        super().__init__()
        self.num_old = num_old
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.average = average
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', weights, persistent=False)

    def per_pixel(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """``[N, H, W]`` loss of ``[N, C, H, W]`` logits, 0 where ``target == ignore_index``."""
        raise NotImplementedError

    def forward(self, cls_score: Tensor, label: Tensor, weight: Optional[Tensor] = None, ignore_index: int = 255,
                reduction_override: Optional[str] = None, **kwargs: Any) -> Tensor:
        """Scalar loss of ``[N, C, H, W]`` scores and ``[N, H, W]`` labels.

        With ``reduction_override='none'`` the ``[N, H, W]`` losses of the
        pixels, from which a pixel sampler chooses hard ones.
        """
        loss = self.of_label(self.per_pixel(cls_score, label, ignore_index), label)
        if weight is not None:
            loss = loss * weight
        if reduction_override == 'none':
            return self.loss_weight * loss
        valid = label != ignore_index if self.average == 'valid' else None
        return self.loss_weight * mean_over_valid(loss, valid)

    def of_label(self, loss: Tensor, label: Tensor) -> Tensor:
        """The losses of pixels, times the class weights of their labels."""
        if self.class_weight is None:
            return loss
        return loss * self.class_weight[label.clamp(max=len(self.class_weight) - 1)]  # 255 has no loss anyway
