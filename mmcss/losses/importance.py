"""How important each weight was for old classes, and the penalty on moving it away.

EWC: Kirkpatrick et al., PNAS 2017, here with the running Fisher information of
Riemannian walk; PI: Zenke et al., ICML 2017 (synaptic intelligence); RW:
Chaudhry et al., ECCV 2018 (Riemannian walk). The form is that in which MiB and
PLOP compare with them: https://github.com/fcdl94/MiB and
https://github.com/arthurdouillard/CVPR2021_PLOP.

Sequences hold one tensor for each parameter, all of the parameter's shape.
Torch's foreach operations take a few kernels for a whole network, and nothing
waits for the device. Functions with a trailing underscore change their first
argument. Gradients are those of the loss of a whole batch; ``before`` and
``after`` are the weights before and after a move.
"""
from __future__ import annotations

from typing import Annotated, List, Tuple, Union

import torch
from pydantic import Field
from torch import Tensor

Tensors = Union[List[Tensor], Tuple[Tensor, ...]]
# Less would be 0 in float32, and divide the path of a weight that has not moved.
Damping = Annotated[float, Field(ge=1e-37, allow_inf_nan=False)]


@torch.no_grad()
def update_fisher_(fisher: List[Tensor], gradients: Tensors, alpha: float = 0.9) -> None:
    """Update the running diagonal of the Fisher information; a new value has the weight ``alpha`` (EWC++ of RW)."""
    torch._foreach_mul_(fisher, 1 - alpha)
    torch._foreach_addcmul_(fisher, gradients, gradients, value=alpha)


@torch.no_grad()
def add_path_(path: List[Tensor], gradients: Tensors, before: Tensors, after: Tensors) -> None:
    """Add the first-order decrease of the loss by a move (PI, eq. 3)."""
    torch._foreach_addcmul_(path, gradients, torch._foreach_sub(before, after))


@torch.no_grad()
def add_segment_score_(score: List[Tensor], path: Tensors, before: Tensors, after: Tensors, fisher: Tensors,
                       damping: float = 1e-8) -> None:
    """Add the decrease of the loss along a segment of the path, divided by how far the output moved (RW, its score).

    Args:
        score: The sum over segments so far.
        path: The decrease along this segment, see :func:`add_path_`.
        before: Weights at its start.
        after: Weights at its end.
        fisher: Fisher information; times half the square of a move it is the
            divergence between the outputs.
        damping: Added to the divisor.
    """
    divisor = torch._foreach_sub(after, before)
    torch._foreach_mul_(divisor, divisor)
    torch._foreach_mul_(divisor, fisher)
    torch._foreach_mul_(divisor, .5)
    torch._foreach_add_(divisor, damping)
    torch._foreach_addcdiv_(score, path, divisor)


def path_importance(path: Tensor, before: Tensor, after: Tensor, damping: float = 1e-3) -> Tensor:
    """Decrease of the loss by a parameter's moves in a step, divided by the square of its total move (PI, eq. 5).

    ``path`` is the sum of :func:`add_path_`; ``damping`` is added to the
    square (xi of the paper). At least 0.
    """
    return (path / ((after - before).square() + damping)).clamp(min=0)


def normalise(importance: Tensor) -> Tensor:
    """Importance of one parameter scaled to 0 to 1; 0 where all entries are equal (authors' code; RW)."""
    low, high = importance.aminmax()
    return (importance - low) / (high - low + 1e-8)


@torch.no_grad()
def penalty(weights: Tensors, old: Tensors, importance: Tensors) -> Tensor:
    """Sum of the squared distances from the old weights times their importance (at least 0), without a factor of one half.

    A scalar without gradient: see :func:`add_penalty_gradient_`.
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
