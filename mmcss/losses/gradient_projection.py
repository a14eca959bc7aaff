"""A-GEM: averaged gradient episodic memory (Chaudhry et al., ICLR 2019).

Authors' code: https://github.com/facebookresearch/agem
"""
from __future__ import annotations

from typing import List, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def project(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> List[Tensor]:
    """The closest gradient that does not raise the loss of the memory (A-GEM, eq. 11).

    All tensors together are one vector. If it points away from the reference,
    its component along the reference is subtracted; otherwise, and if the
    reference is 0 or not finite, it is returned as it is. Nothing waits for
    the device.

    Args:
        gradients: Of the new data's loss, one tensor for each parameter.
        reference: Of the memory's loss, of the same shapes.
    """
    if not gradients:
        return []
    vector, onto = _vector(gradients), _vector(reference)
    along, length = vector.dot(onto), onto.dot(onto)
    conflict = (along < 0) & (length > 0) & along.isfinite() & length.isfinite()
    share = torch.where(conflict, along / torch.where(conflict, length, 1), 0)
    shares = torch._foreach_mul(list(reference), share)
    # Not by 0 times the reference, which may be infinite.
    return [torch.where(conflict, gradient - part.to(gradient.dtype), gradient)
            for gradient, part in zip(gradients, shares)]


def _vector(tensors: Sequence[Tensor]) -> Tensor:
    """All tensors flattened into one, in float32: a few kernels in place of one for each tensor."""
    return torch.cat([tensor.reshape(-1).float() for tensor in tensors])
