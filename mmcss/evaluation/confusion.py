"""Confusion matrices and the scores computed from them."""
from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
from torch import Tensor


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count pixels by label and prediction.

    Args:
        prediction: int tensor of any shape, in 0 to ``num_classes - 1``.
        label: int tensor of the same shape; ``ignore_index`` is not counted.
        num_classes: C.

    Returns:
        ``[C, C]`` int64, rows are labels.
    """
    valid = label != ignore_index
    index = label[valid].long() * num_classes + prediction[valid].long()
    return torch.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """``[C]`` intersection over union in percent; NaN for a class that is neither labelled nor predicted."""
    hits = np.diag(confusion)
    return _percent(hits, confusion.sum(0) + confusion.sum(1) - hits)


def accuracy_per_class(confusion: np.ndarray) -> np.ndarray:
    """``[C]`` recall in percent; NaN for a class without labels."""
    return _percent(np.diag(confusion), confusion.sum(1))


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Share of correctly predicted pixels, in percent; NaN without pixels."""
    return float(_percent(np.diag(confusion).sum(), confusion.sum()))


def mean_over(values: np.ndarray, classes: Sequence[int]) -> float:
    """Mean over some classes without NaN values; NaN if there is no other value."""
    chosen = values[list(classes)]
    chosen = chosen[~np.isnan(chosen)]
    return float(chosen.mean()) if len(chosen) else float('nan')


def mean_of_group(iou: np.ndarray, labelled: np.ndarray, classes: Sequence[int], absent: str = 'stock') -> float:
    """Mean IoU of some classes.

    Args:
        iou: ``[C]`` of :func:`iou_per_class`.
        labelled: ``[C]`` bool, whether a class has a labelled pixel.
        classes: Indices of the group.
        absent: Value of a class without labelled pixels: 'stock' its ``iou``, 'skip' none, 'zero' 0.
    """
    if absent != 'stock':
        iou = np.where(labelled, iou, np.nan if absent == 'skip' else 0)
    return mean_over(iou, classes)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return 100 * np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
