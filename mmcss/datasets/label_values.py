"""Checks of the label values of a whole data set."""
from __future__ import annotations

from typing import List, Optional

import numpy as np
from mmengine.dataset import BaseDataset

from ..scenario import IGNORE
from .class_names import ClassNames


def without_classes(presence: np.ndarray, names: ClassNames) -> Optional[str]:
    """The message for label maps that hold only ignored pixels and background, as masks of 0 and 255; None for others.

    Args:
        presence: ``[images, 256]`` bool (:func:`presence_table`).
        names: The data set's classes.
    """
    shown = np.any(presence, axis=0)
    if not shown[IGNORE] or shown[[names.raw_ids[name] for name in names.foreground]].any():
        return None
    first = names.foreground[0]
    return (f'the label maps hold only the values {np.flatnonzero(shown).tolist()}, of which {IGNORE} is ignored, and no class. '
            f'Replace it by class numbers, such as {names.raw_ids[first]} for {first!r}')


def other_numbers(presence: np.ndarray, names: ClassNames) -> str:
    """A hint if label maps hold at most as many values as classes, but different ones, such as grey levels; else ''."""
    shown = np.flatnonzero(presence.any(axis=0)).tolist()
    if len(shown) > len(names.raw_ids) + 1 or set(shown) & set(names.raw_ids.values()) - {0}:
        return ''
    return (f'. All label maps together hold the values {shown}: if these mean the classes in that order, replace them by '
            'class numbers 0, 1, 2, ...')


def ignored_values(leaf: BaseDataset, names: ClassNames) -> List[int]:
    """The label values of a data set that are of no class, with its ``ignore_index``.

    Raises:
        ValueError: ``ignore_index`` is the value of a class.
    """
    ignored = getattr(leaf, 'ignore_index', IGNORE)
    name = next((name for name, value in names.raw_ids.items() if value == ignored), None)
    if name is not None:
        raise ValueError(f'{type(leaf).__name__}.ignore_index: got {ignored}, the label value of {name!r}; write ignored pixels '
                         f'as {IGNORE} or another value that no class has.')
    return sorted({*names.ignored, ignored} & set(range(256)))
