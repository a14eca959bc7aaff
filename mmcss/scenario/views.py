"""Which images and which labels of a data set a step sees.

A view turns a presence table into image numbers, and a split into a label table, in plain numpy; nothing here opens a file.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Literal, Mapping, Optional, Sequence, get_args

import numpy as np

from .split import Names, Split

IGNORE = 255
Regime = Literal['overlapped', 'disjoint', 'sequential']
Unknown = Literal['background', 'saliency', 'nothing']
Future = Literal['background', 'ignore']
Images = Literal['seen', 'all']
Absent = Literal['stock', 'skip', 'zero', 'plop']
REGIMES = get_args(Regime)
RawIds = Mapping[str, int]


@dataclass(frozen=True)
class TrainView:
    """What training sees of a data set at a step.

    Images (rules of MiB, Cermelli et al., CVPR 2020, and of Michieli and Zanuttigh, ICCVW 2019; "holds" means at least one
    pixel of the full label map):

    - overlapped: the image holds a new class.
    - disjoint: and no future class.
    - sequential: as disjoint, but old classes keep their labels.

    Labels: new classes get their index; old and future ones become background (old ones keep their index when sequential);
    255 stays.

    Args:
        regime: 'overlapped', 'disjoint' or 'sequential'.
        ignore_as_background: Train on 255 as background, as MiB's released code does with VOC's borders.
        keep_old_labels: Old classes keep their labels: the oracle of PLOP's ablation of pseudo labels. No continual setting.
        unknown: Which background is labelled unknown (:attr:`Split.unknown`; SSUL): 'background' for all of it, 'saliency'
            for pixels marked in a saliency map, which is read with the image, 'nothing' where the channel has no label
            (DKD), None where there is no such channel.
        ignore_others: Ignore old and future classes instead of making them background.
    """

    regime: Regime = 'overlapped'
    ignore_as_background: bool = False
    keep_old_labels: bool = False
    unknown: Optional[Unknown] = None
    ignore_others: bool = False

    def __post_init__(self) -> None:
        for name, valid in (('regime', REGIMES), ('unknown', (None, *get_args(Unknown)))):
            if getattr(self, name) not in valid:
                raise ValueError(f'{name}: got {getattr(self, name)!r}, valid are {", ".join(map(str, valid))}.')

    def select(self, presence: np.ndarray, split: Split, raw_ids: RawIds) -> np.ndarray:
        """Numbers of the images of the step, ascending.

        Args:
            presence: ``[images, 256]`` bool, which raw label values each image holds.
            split: The step.
            raw_ids: Raw label value of each class name.
        """
        chosen = _holds(presence, split.foreground(split.new), raw_ids)
        if self.regime != 'overlapped':
            chosen &= ~_holds(presence, split.future, raw_ids)
        return np.flatnonzero(chosen)

    def labelled_classes(self, split: Split) -> Names:
        """The classes that keep their labels."""
        return split.seen if self.regime == 'sequential' or self.keep_old_labels else split.new

    def table(self, split: Split, raw_ids: RawIds, labelled: Optional[Sequence[str]] = None) -> np.ndarray:
        """``[256]`` uint8: index to train on for each raw label value.

        Args:
            split: The step.
            raw_ids: Raw label value of each class name.
            labelled: The classes that keep their labels, in place of :meth:`labelled_classes` (remembered images).
        """
        unlabelled = IGNORE if split.background is None else 0
        others = IGNORE if self.ignore_others else unlabelled
        table = _table(split, raw_ids, self.labelled_classes(split) if labelled is None else labelled, others)
        if self.ignore_as_background:
            table[IGNORE] = unlabelled
        return self.with_unknown(table, split)

    def with_unknown(self, table: np.ndarray, split: Split) -> np.ndarray:
        """A table in which all background is unknown, where the view's ``unknown`` is 'background'."""
        return np.where(table == 0, split.unknown, table).astype(np.uint8) if self.unknown == 'background' else table


@dataclass(frozen=True)
class Protocol:
    """What evaluation sees of a data set at a step.

    Args:
        future: Label of future classes: 'background' (PLOP's released code) or 'ignore' (MiB's).
        background: Whether the background is scored; if not, its pixels are ignored and it is in no mean.
        images: 'seen' selects the images that hold a seen class, 'all' all.
        absent: Value of a class that no test image holds: 'stock' is MMSegmentation's (0 if it is predicted somewhere, else
            left out of the means), 'skip' leaves it out, 'zero' is 0, and 'plop' leaves it out of the mean of all classes
            and is 0 in those of old and new ones.
    """

    future: Future = 'background'
    background: bool = True
    images: Images = 'seen'
    absent: Absent = 'stock'

    def __post_init__(self) -> None:
        for name, valid in (('future', get_args(Future)), ('images', get_args(Images)), ('absent', get_args(Absent))):
            if getattr(self, name) not in valid:
                raise ValueError(f'protocol.{name}: got {getattr(self, name)!r}, valid are {", ".join(valid)}.')

    def select(self, presence: np.ndarray, split: Split, raw_ids: RawIds) -> np.ndarray:
        """Numbers of the images to test on; see :meth:`TrainView.select`."""
        if self.images == 'all':
            return np.arange(len(presence))
        return np.flatnonzero(_holds(presence, split.foreground(split.seen), raw_ids))

    def table(self, split: Split, raw_ids: RawIds) -> np.ndarray:
        """``[256]`` uint8: index to score against for each raw value."""
        scored = self.background and split.background is not None
        others = 0 if scored and self.future == 'background' else IGNORE
        table = _table(split, raw_ids, split.seen, others)
        if split.background is not None and split.background in raw_ids and not scored:
            table[raw_ids[split.background]] = IGNORE
        return table


# How the authors' code tests; 'default' and 'full' are mmcss's. It also resizes and crops images, as data pipelines do.
# 'listed' means True where the data set lists a background (VOC), and False where background is the rest (ADE20K).
PROTOCOLS: Dict[str, Dict[str, Any]] = {
    'default': dict(future='background', background=True, images='seen', absent='stock'),
    'plop': dict(future='background', background=True, images='seen', absent='plop'),
    'mib': dict(future='ignore', background='listed', images='seen', absent='skip'),
    'mib_paper': dict(future='ignore', background=False, images='seen', absent='skip'),
    'ssul': dict(future='ignore', background=True, images='all', absent='zero'),
    'full': dict(future='background', background=True, images='all', absent='stock'),
}


def _holds(presence: np.ndarray, names: Names, raw_ids: RawIds) -> np.ndarray:
    # Data of a later step may list its new classes alone.
    return np.any(presence[:, [raw_ids[name] for name in names if name in raw_ids]], axis=1)


def _table(split: Split, raw_ids: RawIds, labelled: Sequence[str], others: int) -> np.ndarray:
    """Table with ``labelled`` at their index and all other classes at ``others``."""
    index = {name: i for i, name in enumerate(split.seen)}
    table = np.full(256, IGNORE, dtype=np.uint8)
    for name, raw in raw_ids.items():
        table[raw] = index[name] if name in labelled else others
    # The background has index 0 at every step, though it is "old" after step 0.
    if split.background is not None and split.background in raw_ids:
        table[raw_ids[split.background]] = 0
    return table
