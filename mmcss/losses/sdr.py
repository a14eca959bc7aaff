"""SDR: sparse and disentangled latent representations (Michieli and Zanuttigh, CVPR 2021).

Four terms shape the backbone's last output, the latent map: means of old
classes are kept at their prototypes (matching), features are drawn to the
prototype of their class (attraction), class means are pushed apart
(repulsion), and features are made sparse (sparsity).

Authors' code: https://github.com/LTTM/SDR
Written from the equations. Two slips of that code are not reproduced: with more
than one image it reshapes a masked selection to channels by cells, which mixes
up both; and it divides by the number of classes inside the loop over classes,
so that the running sum is divided again and again.
"""
from __future__ import annotations

from typing import Callable, Optional, Sequence, Tuple

import torch
from torch import Tensor

from .prototypes import class_means
from .reduce import by_count

# Bounds that keep values and gradients finite; trained networks hardly come near them.
LEAST_DISTANCE = 1e-2  # between two class means, in units of the features
LEAST_PEAK = 1e-3  # of a class region, in units of the features
LEAST_MEAN = 1e-3  # over the channels of one cell, relative to its region's peak


def nearest_labels(target: Tensor, grid: Sequence[int]) -> Tensor:
    """Labels of the pixels in the middle of each cell of a coarser grid.

    Args:
        target: ``[N, H, W]``.
        grid: Height and width of the features, h and w.

    Returns:
        ``[N, h, w]``; the same as interpolation of mode 'nearest-exact'.
    """
    rows, columns = ((2 * torch.arange(cells, device=target.device) + 1) * size // (2 * cells)
                     for size, cells in zip(target.shape[1:], grid))
    return target[:, rows[:, None], columns]


def members(labels: Tensor, num_classes: int) -> Tensor:
    """``[N, C, h, w]`` bool: the class of each cell of ``[N, h, w]`` labels; none for labels beyond C - 1."""
    classes = torch.arange(num_classes, device=labels.device)
    return labels[:, None] == classes[:, None, None]


def region_sums(features: Tensor, labels: Tensor, num_classes: int) -> Tuple[Tensor, Tensor]:
    """Sum of the features over the cells of each class in the batch.

    Args:
        features: ``[N, D, h, w]``.
        labels: ``[N, h, w]`` class indices; others count for no class.
        num_classes: Number of classes, C.

    Returns:
        ``[C, D]`` float32 sums, and ``[C]`` numbers of cells.
    """
    inside = members(labels, num_classes).flatten(2).float()
    # Sums over a large class overflow in half precision.
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum('ncp,ndp->ncd', inside, features.float().flatten(2)).sum(dim=0), inside.sum(dim=(0, 2))


def mean_over_classes(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of ``[C]`` values over those classes that count; 0 if none does."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp(min=1)


def prototype_matching(means: Tensor, prototypes: Tensor, counted: Tensor) -> Tensor:
    """Mean squared error between class means of the batch (``[C, D]``) and prototypes (likewise, without gradient).

    The average is over the classes that are ``counted``, ``[C]`` bool.
    """
    return mean_over_classes((means - prototypes).square().mean(dim=1), counted)


def error_sums(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tuple[Tensor, Tensor]:
    """Squared errors between features and the prototype of their class, for :func:`attraction`.

    Args:
        features, labels: See :func:`region_sums`.
        prototypes: ``[C, D]``, without gradient.

    Returns:
        ``[C, 1]`` sums over the cells of each class of the means over D, and ``[C]`` numbers of cells.
    """
    num_classes = len(prototypes)
    inside = (labels >= 0) & (labels < num_classes)
    targets = prototypes.to(features)[torch.where(inside, labels, 0)].permute(0, 3, 1, 2)
    return region_sums((features - targets).square().mean(dim=1, keepdim=True), labels, num_classes)


def attraction(sums: Tensor, counts: Tensor, counted: Tensor) -> Tensor:
    """Mean squared error between features and the prototype of their class, from :func:`error_sums`.

    Averaged over the cells of a class, then over those of the ``counted``
    classes (``[C]`` bool) that are in the batch: small classes count as much
    as large ones.
    """
    return mean_over_classes(class_means(sums, counts)[:, 0], counted & (counts > 0))


def repulsion(means: Tensor, counted: Tensor) -> Tensor:
    """Mean inverse distance between the means (``[C, D]``) of any two ``counted`` classes (``[C]`` bool) of the batch.

    0 with less than two classes. Distances below ``LEAST_DISTANCE`` count as
    that, without gradient.
    """
    # By differences: a product of matrices would round small distances away.
    distances = torch.cdist(means, means, compute_mode='donot_use_mm_for_euclid_dist')
    pairs = counted & counted[:, None] & ~torch.eye(len(means), dtype=torch.bool, device=means.device)
    return torch.where(pairs, 1 / distances.clamp(min=LEAST_DISTANCE), 0).sum() / pairs.sum().clamp(min=1)


def sparsity(features: Tensor, labels: Tensor, num_classes: int, number: Optional[Tensor] = None,
             largest_of: Callable[[Tensor], Tensor] = lambda largest: largest) -> Tensor:
    """Sum of exponentials over sum of each cell's features.

    Features are divided by the largest value that any channel of any cell of
    the same class has in the batch. Those below 0, of backbones that don't end
    in a ReLU, count as 0.

    Args:
        features, labels, num_classes: See :func:`region_sums`.
        number: Number of cells to divide by; None for those of all classes.
        largest_of: Turns the largest values of the classes in this share of a
            batch into those of the whole batch.

    Returns:
        Scalar, the mean over the cells of all classes; a cell all of whose
        features are 0 counts as 0.
    """
    inside = members(labels, num_classes)
    valid = inside.any(dim=1)
    active = torch.where(valid[:, None], features.float().clamp(min=0), 0)
    largest = active.amax(dim=1, keepdim=True)
    peaks = torch.where(inside, largest, 0).amax(dim=(0, 2, 3), keepdim=True)
    peaks = largest_of(peaks).clamp(min=LEAST_PEAK)
    scaled = active / torch.where(inside, peaks, 0).sum(dim=1, keepdim=True).clamp(min=LEAST_PEAK)
    # Means in place of sums: their ratio is the same.
    ratio = scaled.exp().mean(dim=1) / scaled.mean(dim=1).clamp(min=LEAST_MEAN)
    return by_count(torch.where(largest[:, 0] > 0, ratio, 0).sum(), valid.sum() if number is None else number)
