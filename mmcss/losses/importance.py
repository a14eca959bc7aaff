"""How important each weight was for old classes, and the penalty on moving it away.

EWC: Kirkpatrick et al., PNAS 2017, here with the running Fisher information of
Riemannian walk; PI: Zenke et al., ICML 2017 (synaptic intelligence); RW:
Chaudhry et al., ECCV 2018 (Riemannian walk). The form is that in which MiB and
PLOP compare with them: https://github.com/fcdl94/MiB and
https://github.com/arthurdouillard/CVPR2021_PLOP.

Sequences hold one tensor for each parameter, all of the parameter's shape.
They go through torch's foreach operations: a few kernels for a whole network,
and nothing that waits for the device. Names with a trailing underscore change
their first argument.
"""
from __future__ import annotations

from typing import Annotated, List, Tuple, Union

import torch
from pydantic import Field
from torch import Tensor

Tensors = Union[List[Tensor], Tuple[Tensor, ...]]
# float32 has hardly less: it would be added as 0, and a weight that has not moved be divided by it.
Damping = Annotated[float, Field(ge=1e-37, allow_inf_nan=False)]


@torch.no_grad()
def update_fisher_(fisher: List[Tensor], gradients: Tensors, alpha: float = 0.9) -> None:
    """Running diagonal of the empirical Fisher information (RW, its EWC++).

    Args:
        fisher: What was found so far, at least 0.
        gradients: Of the loss, for the whole batch.
        alpha: Weight of the new value.
    """
    torch._foreach_mul_(fisher, 1 - alpha)
    torch._foreach_addcmul_(fisher, gradients, gradients, value=alpha)


@torch.no_grad()
def add_path_(path: List[Tensor], gradients: Tensors, before: Tensors, after: Tensors) -> None:
    """Add what moves have taken off the loss, to first order (PI, eq. 3).

    Args:
        path: The sum so far.
        gradients: Of the loss.
        before: Weights before the move.
        after: Weights after it.
    """
    torch._foreach_addcmul_(path, gradients, torch._foreach_sub(before, after))


@torch.no_grad()
def add_segment_score_(score: List[Tensor], path: Tensors, before: Tensors, after: Tensors, fisher: Tensors,
                       damping: float = 1e-8) -> None:
    """Add what a segment of the path took off the loss for the way that the output went (RW, its score of a parameter).

    Args:
        score: The sum over segments so far.
        path: What the segment has taken off the loss.
        before: Weights at its start.
        after: Weights at its end.
        fisher: Fisher information, with which half the square of a move is
            the divergence between the outputs.
        damping: Added to the divisor.
    """
    divisor = torch._foreach_sub(after, before)
    torch._foreach_mul_(divisor, divisor)
    torch._foreach_mul_(divisor, fisher)
    torch._foreach_mul_(divisor, .5)
    torch._foreach_add_(divisor, damping)
    torch._foreach_addcdiv_(score, path, divisor)


def path_importance(path: Tensor, before: Tensor, after: Tensor, damping: float = 1e-3) -> Tensor:
    """What a weight took off the loss for the square of its way in the step, at least 0 (PI, eq. 5).

    Args:
        path: Of one parameter, see :func:`add_path_`.
        before: Its values at the start of the step.
        after: Its values at the end.
        damping: Added to the square, xi of the paper.
    """
    return (path / ((after - before).square() + damping)).clamp(min=0)


def normalise(importance: Tensor) -> Tensor:
    """Importance of one parameter scaled to 0 to 1; where all are alike it is 0 (authors' code; RW)."""
    low, high = importance.aminmax()
    return (importance - low) / (high - low + 1e-8)


@torch.no_grad()
def penalty(weights: Tensors, old: Tensors, importance: Tensors) -> Tensor:
    """Squares of the ways from the old weights, weighted by importance, without a factor of one half.

    Args:
        weights: As they are now.
        old: As they were at the end of the step before.
        importance: At least 0.

    Returns:
        The sum over all weights, a scalar without gradient: see
        :func:`add_penalty_gradient_`.
    """
    squares = torch._foreach_sub(weights, old)
    torch._foreach_mul_(squares, squares)
    torch._foreach_mul_(squares, importance)
    # As nothing is negative, the 1-norm of each tensor is its sum.
    return torch.stack(torch._foreach_norm(squares, 1)).sum()


@torch.no_grad()
def add_penalty_gradient_(gradients: List[Tensor], weights: Tensors, old: Tensors, importance: Tensors,
                          loss_weight: float) -> None:
    """Add the gradient of ``loss_weight`` times :func:`penalty`, which is known in closed form."""
    torch._foreach_addcmul_(gradients, torch._foreach_sub(weights, old), importance, value=2 * loss_weight)
