"""Which labels a remembered image is trained with: ``continual.memory.labels``."""
from __future__ import annotations

from typing import Dict, Mapping, Tuple

import numpy as np

from ..scenario import Split, TrainView
from .exemplar import Exemplar


class StoredLabels:
    """The labels that an image was stored with, plus the step's if it is in the step too; the rest is background.

    Attributes:
        from_copies: Whether copies of images have these labels.
        with_saliency: Whether the saliency maps of remembered images are read.
        true_classes: Whether each pixel has the label of its class.
    """

    from_copies = True
    with_saliency = True
    true_classes = True

    def labelled_classes(self, exemplar: Exemplar, split: Split, view: TrainView, in_step: bool) -> Tuple[str, ...]:
        """The classes whose labels are read; ``in_step``: whether the exemplar is also an image of the step."""
        return (*exemplar.labelled, *(view.labelled_classes(split) if in_step else ()))

    def table(self, labelled: Tuple[str, ...], split: Split, view: TrainView, raw_ids: Mapping[str, int]) -> np.ndarray:
        """``[256]`` uint8: the training label of each value of the data set's label maps.

        Raises:
            ValueError: The data set lacks a class that is asked for.
        """
        return view.table(split, raw_ids, labelled)


class SeenLabels(StoredLabels):
    """The labels of all classes seen so far, which need those of the data set (SSUL's authors)."""

    from_copies = False

    def labelled_classes(self, exemplar: Exemplar, split: Split, view: TrainView, in_step: bool) -> Tuple[str, ...]:
        return split.seen

    def table(self, labelled: Tuple[str, ...], split: Split, view: TrainView, raw_ids: Mapping[str, int]) -> np.ndarray:
        unknown = [name for name in split.foreground(labelled) if name not in raw_ids]
        if unknown:
            raise ValueError(f'it has no labels of {unknown}')
        return view.table(split, raw_ids, labelled)


LABELS: Dict[str, StoredLabels] = dict(stored=StoredLabels(), seen=SeenLabels())
DEFAULT_LABELS = 'stored'
