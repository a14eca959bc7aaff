"""Averages over pixels, and over what several processes train on at once.

Distributed training gives each weight the mean of the processes' gradients.
That is the gradient of one process with all their images only if what is a
mean over the batch is one over all of them. Let the loss be L(m), where m is
the mean over P processes of something x_p that each has of its own images (a
sum of features, a number of pixels). Then dL = L'(m) sum_p dx_p / P, the mean
over processes of L'(m) dx_p: each has to put m in the place of x_p, with a
derivative of 1 by its own x_p. This is :func:`averaged`. Ratios of means are
those of sums: averaged sums by averaged counts are the means of classes over
all images, and a sum over own pixels, divided by the averaged count, is a loss
of which the processes' mean is the one over all pixels.
"""
from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor


def mean_over_valid(loss: Tensor, valid: Optional[Tensor] = None) -> Tensor:
    """Mean of a loss per pixel.

    Args:
        loss: ``[N, H, W]``, already 0 where a pixel does not count.
        valid: ``[N, H, W]`` bool, the pixels to divide by; None for all.

    Returns:
        Scalar; 0, with a gradient of 0, when no pixel is valid.
    """
    return loss.mean() if valid is None else by_count(loss.sum(), valid.sum())


def by_count(total: Tensor, count: Tensor) -> Tensor:
    """A sum divided by the number of its summands, which may be averaged and so less than 1; 0 by 0 is 0."""
    return total / torch.where(count > 0, count, 1)


def averaged(*values: Tensor) -> Tuple[Tensor, ...]:
    """Means over the processes, which all have to call it alike; see above for their gradient.

    Args:
        values: Tensors of any shapes. All go through one exchange, in
            float32, that does not make the host wait.

    Returns:
        The mean of each over the processes, with the gradient of this one's.
    """
    flat = torch.cat([value.flatten().float() for value in values])
    mean = flat.detach().clone()
    all_reduce(mean, 'mean')
    mean = mean + (flat - flat.detach())
    pieces = mean.split([value.numel() for value in values])
    return tuple(piece.view(value.shape) for piece, value in zip(pieces, values))


class LargestOverProcesses(torch.autograd.Function):
    """Elementwise maximum over the processes, which all have to call it, and its backward pass, alike.

    With P losses L_p, each a function of the maxima, the mean loss has a
    derivative of sum_p L_p' / P by a maximum. It is due to the process that
    has it, whose gradient will be divided by P: so that one gets the sum.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Maxima of a tensor of any shape."""
        largest = values.clone()
        all_reduce(largest, 'max')
        holds = (values == largest).to(values)
        holders = holds.clone()
        all_reduce(holders)
        ctx.save_for_backward(holds / holders)
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of all processes' gradients where this one has the maximum; equal ones share it."""
        gradient = gradient.clone()
        all_reduce(gradient)
        return gradient * ctx.saved_tensors[0]
