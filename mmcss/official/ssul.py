"""Differences between SSUL's released code and its paper.

Authors' code: https://github.com/clovaai/SSUL
"""
from __future__ import annotations

from dataclasses import replace
from typing import Mapping, Tuple

import numpy as np

from ..memory.labels import LABELS, SeenLabels
from ..scenario import IGNORE, Split, TrainView


class UnshiftedLabels(SeenLabels):
    """Labels of remembered images that are too low by a channel; their saliency maps are not read."""

    with_saliency = False
    true_classes = False

    def table(self, labelled: Tuple[str, ...], split: Split, view: TrainView, raw_ids: Mapping[str, int]) -> np.ndarray:
        return unshifted(super().table(labelled, split, replace(view, unknown=None), raw_ids), split)


def unshifted(table: np.ndarray, split: Split) -> np.ndarray:
    """Labels of remembered images as SSUL's released code reads them.

    Its channels are unknown, background and then the classes, and it does not
    shift these labels: background is read as unknown, the first class as
    background, any other class as the class before it.
    """
    shifted = table.astype(int) - 1
    shifted[table == 0] = split.unknown
    shifted[table == IGNORE] = IGNORE
    return shifted.astype(np.uint8)


LABELS['unshifted'] = UnshiftedLabels()
