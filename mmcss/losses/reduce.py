"""Averages over pixels."""
from __future__ import annotations

from typing import Optional

from torch import Tensor


def mean_over_valid(loss: Tensor, valid: Optional[Tensor] = None) -> Tensor:
    """Mean of a loss per pixel.

    Args:
        loss: ``[N, H, W]``, already 0 where a pixel does not count.
        valid: ``[N, H, W]`` bool, the pixels to divide by; None for all.

    Returns:
        Scalar; 0, with a gradient of 0, when no pixel is valid.
    """
    if valid is None:
        return loss.mean()
    return loss.sum() / valid.sum().clamp(min=1)
