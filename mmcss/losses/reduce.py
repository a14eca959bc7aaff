"""Averages over pixels, and over the images of several processes.

Distributed training gives each weight the mean of the processes' gradients.
This is the gradient of a single process with all images only if means over
the batch are means over all images. Let the loss be L(m), where m is the mean
over P processes of a value x_p of process p (a sum of features, a number of
pixels). Then dL = L'(m) sum_p dx_p / P, the mean over processes of L'(m) dx_p:
each process has to replace x_p by m, with a derivative of 1 by x_p. This is
:func:`averaged`. Averaged sums divided by averaged counts are means over all
images, and if each process divides the sum over its pixels by the averaged
count, the mean of their losses is that over all pixels.
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
    """A sum divided by the number of its summands, which may be averaged and so less than 1; 0 / 0 is 0."""
    return total / torch.where(count > 0, count, 1)


def averaged(*values: Tensor) -> Tuple[Tensor, ...]:
    """The mean of each value over the processes, with a derivative of 1 by this process's value (see above).

    All processes have to call it with values of the same shapes, which may
    be any. There is one exchange, in float32, which the host does not wait
    for.
    """
    flat = torch.cat([value.flatten().float() for value in values])
    mean = flat.detach().clone()
    all_reduce(mean, 'mean')
    mean = mean + (flat - flat.detach())
    pieces = mean.split([value.numel() for value in values])
    return tuple(piece.view(value.shape) for piece, value in zip(pieces, values))


class LargestOverProcesses(torch.autograd.Function):
    """Elementwise maximum over the processes, which all have to call it and its backward pass.

    With P losses L_p, each a function of the maxima, the mean loss has a
    derivative of sum_p L_p' / P by a maximum. It belongs to the process that
    has the maximum, and whose gradient is divided by P later: it gets the sum.
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
        """The sum of all processes' gradients where this process has the maximum; equal maxima share it."""
        gradient = gradient.clone()
        all_reduce(gradient)
        return gradient * ctx.saved_tensors[0]
