"""Mean features of classes."""
from __future__ import annotations

from typing import Sequence, Tuple

import torch
from torch import Tensor


def class_shares(target: Tensor, num_classes: int, grid: Sequence[int], align_corners: bool = False) -> Tensor:
    """How much each cell of a coarser grid contributes to the pixels of each class.

    The transpose of bilinear upsampling: a sum over pixels of upsampled
    features equals the sum over cells of the features times these shares, so
    that no feature has to be upsampled.

    Args:
        target: ``[N, H, W]`` class indices; those outside of 0 to C - 1 count
            for no class.
        num_classes: Number of classes, C.
        grid: Height and width of the features, h and w.
        align_corners: Of the upsampling.

    Returns:
        ``[N, C, h, w]`` float32; sums to the class's number of pixels.
    """
    number = target.shape[0]
    rows, row_weights = _neighbours(target.shape[1], grid[0], align_corners, target.device)
    columns, column_weights = _neighbours(target.shape[2], grid[1], align_corners, target.device)
    inside = (target >= 0) & (target < num_classes)
    # One more class for the pixels of no class.
    groups = torch.where(inside, target, num_classes)
    groups = groups + (num_classes + 1) * torch.arange(number, device=target.device)[:, None, None]
    shares = torch.zeros(number * (num_classes + 1) * grid[0] * grid[1], device=target.device)
    for row, row_weight in zip(rows, row_weights):
        for column, column_weight in zip(columns, column_weights):
            cells = row[:, None] * grid[1] + column
            index = groups * (grid[0] * grid[1]) + cells
            weights = (row_weight[:, None] * column_weight).expand(index.shape)
            shares.index_add_(0, index.flatten(), weights.flatten())
    return shares.view(number, num_classes + 1, *grid)[:, :num_classes]


def _neighbours(size: int, cells: int, align_corners: bool, device: torch.device) -> Tuple[Tensor, Tensor]:
    """For each of ``size`` pixels the two cells that it is interpolated from, and their weights, ``[2, size]`` each."""
    pixels = torch.arange(size, device=device, dtype=torch.float32)
    if align_corners:
        position = pixels * ((cells - 1) / max(size - 1, 1))
    else:
        position = ((pixels + 0.5) * (cells / size) - 0.5).clamp(min=0)
    low = position.long().clamp(max=cells - 1)
    high = (low + 1).clamp(max=cells - 1)
    weight = position - low
    return torch.stack((low, high)), torch.stack((1 - weight, weight))


def class_sums(features: Tensor, target: Tensor, num_classes: int,
               align_corners: bool = False) -> Tuple[Tensor, Tensor]:
    """Sum of the upsampled features over the pixels of each class in each image.

    Args:
        features: ``[N, D, h, w]``.
        target, num_classes, align_corners: See :func:`class_shares`.

    Returns:
        ``[N, C, D]`` float32 sums, and ``[N, C]`` numbers of pixels.
    """
    shares = class_shares(target, num_classes, features.shape[2:], align_corners).flatten(2)
    # Sums over a large class overflow in half precision.
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum('ncp,ndp->ncd', shares, features.float().flatten(2)), shares.sum(dim=2)


def class_means(sums: Tensor, counts: Tensor) -> Tensor:
    """``[..., C, D]`` means from sums and ``[..., C]`` counts; 0 for a class without pixels."""
    return torch.where(counts[..., None] > 0, sums / counts[..., None].clamp(min=1e-12), 0)
