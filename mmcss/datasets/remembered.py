"""Remembered images as a step's data set shows them."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ..scenario import IGNORE, Split, TrainView
from .exemplars import LABELS, Exemplar, ExemplarMemory
from .labelled_images import LabelledImages
from .saliency import saliency_path
from .sources import image_name, keep_zero


class RememberedImages:
    """The exemplars that the step before has left, ready to be loaded.

    One that the step itself brings as well (it holds a new class) is also
    labelled with the new classes: else its pixels of these would be taught as
    background. A copy can be only where the data set still labels all that
    the copy shows; it is then read from there.

    Args:
        images: The data set that references point into.
        index: The step's images, see :meth:`LabelledImages.select`.
        split: The step that replays them.
        view: Its view of the data.
        path: ``memory.json`` of the step before; None for no memory.
        labels: 'stored': the labels that an image had when it was stored (and
            those that the step brings), the rest is background; 'seen': those
            of all classes seen by now (SSUL's authors; needs the data set's
            labels); 'unshifted': these read one channel too low, as in SSUL's
            released code.
        saliency: Folder of saliency maps, or None.
        brought: Whether an exemplar that the step brings as well is also
            labelled with the new classes. Not where images come as a stream:
            there it has not been labelled yet.

    Raises:
        FileNotFoundError: There is no memory, or the data set has lost an
            image that it refers to.
        ValueError: The labels asked for are not in a copy.
    """

    def __init__(self, images: LabelledImages, index: np.ndarray, split: Split, view: TrainView,
                 path: Optional[str] = None, labels: str = 'stored', saliency: Optional[str] = None,
                 brought: bool = True) -> None:
        if labels not in LABELS:
            raise ValueError(f'memory.labels: got {labels!r}, valid are {", ".join(LABELS)}.')
        self.folder = Path(path or '.').parent
        self.memory = ExemplarMemory() if path is None else ExemplarMemory.load(path)
        self._images, self._split, self._view = images, split, view
        self._labels, self._saliency = labels, saliency
        self._by_name: Dict[int, Dict[str, int]] = {}
        # A leaf that is repeated goes by its first number.
        self._first = [next(i for i, one in enumerate(images.leaves) if one is leaf) for leaf in images.leaves]
        self._brought = {(self._first[leaf], image) for leaf, image in index.tolist()} if brought else set()
        self._infos: List[Tuple[int, Dict[str, Any]]] = [self.read(one) for one in self.memory.exemplars]

    def __len__(self) -> int:
        return len(self._infos)

    def get_data_info(self, number: int) -> Tuple[int, Dict[str, Any]]:
        """Number of the leaf whose pipeline loads an exemplar, and what to load, with its table of labels."""
        leaf, info = self._infos[number]
        return leaf, dict(info, seg_fields=[])

    def kept(self, one: Exemplar) -> Tuple[str, ...]:
        """The classes that the labels of an exemplar tell."""
        image = self._find(one)
        return one.labelled if self._is_copy(one, image) else self._kept(one, image)

    def read(self, one: Exemplar) -> Tuple[int, Dict[str, Any]]:
        """As :meth:`get_data_info`, for any exemplar of this data set."""
        image = self._find(one)
        if self._is_copy(one, image):
            return self._copy(one)
        if image is None:
            raise FileNotFoundError(f'the remembered image {one.name} is no longer in the data set; keep the images that '
                                    'memory.json names, or remember copies (continual.memory.export=True).')
        return self._reference(one, image)

    def _find(self, one: Exemplar) -> Optional[int]:
        """Number of an exemplar's image in its leaf, None if it is not there."""
        if one.leaf >= len(self._images.leaves):
            return None
        if one.leaf not in self._by_name:
            leaf = self._images.leaves[one.leaf]
            self._by_name[one.leaf] = {image_name(leaf, leaf.get_data_info(i)): i for i in range(len(leaf))}
        return self._by_name[one.leaf].get(one.name)

    def _is_brought(self, one: Exemplar, image: int) -> bool:
        return (self._first[one.leaf], image) in self._brought

    def _is_copy(self, one: Exemplar, image: Optional[int]) -> bool:
        """Whether an exemplar is read from its copy."""
        return bool(one.image) and not (image is not None and self._is_whole(one, image))

    def _is_whole(self, one: Exemplar, image: int) -> bool:
        """Whether the step brings the image of a copy, with the labels that the copy has."""
        return self._labels == 'stored' and self._is_brought(one, image) and self.is_labelled(one)

    def is_labelled(self, one: Exemplar) -> bool:
        """Whether the data set still labels all that an exemplar of it shows."""
        image, raw = self._find(one), [self._images.names.raw_ids[name] for name in one.holds]
        return image is not None and bool(self._images.presence[one.leaf][image, raw].all())

    def _kept(self, one: Exemplar, image: Optional[int]) -> Tuple[str, ...]:
        if self._labels != 'stored':
            return self._split.seen
        brought = image is not None and self._is_brought(one, image)
        return (*one.labelled, *(self._view.kept(self._split) if brought else ()))

    def _reference(self, one: Exemplar, image: int) -> Tuple[int, Dict[str, Any]]:
        leaf = self._images.leaves[one.leaf]
        info = keep_zero(leaf.get_data_info(image))
        kept = self._kept(one, image)
        if self._labels == 'unshifted':
            # That code reads no saliency of remembered images.
            known = replace(self._view, unknown=None).table(self._split, self._images.names.raw_ids, kept)
            return one.leaf, dict(info, label_table=unshifted(known, self._split), saliency_path=None)
        info['label_table'] = self._view.table(self._split, self._images.names.raw_ids, kept)
        if self._saliency is not None:
            info['saliency_path'] = saliency_path(leaf, self._saliency, one.name)
        return one.leaf, info

    def _copy(self, one: Exemplar) -> Tuple[int, Dict[str, Any]]:
        if self._labels != 'stored':
            raise ValueError(f"memory.labels: '{self._labels}' asks for labels that a copy has not; "
                             "take 'stored', or leave memory.export out.")
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[:self._split.num_seen] = np.arange(self._split.num_seen)
        info = dict(img_path=str(self.folder / one.image), seg_map_path=str(self.folder / one.labels), label_map=None,
                    reduce_zero_label=False, label_table=self._view.with_unknown(table, self._split))
        if self._saliency is not None:
            if not one.saliency:
                raise ValueError(f'the remembered copy {one.image} of {one.name} was made without a saliency map; '
                                 'run the step before with this config.')
            info['saliency_path'] = str(self.folder / one.saliency)
        return min(one.leaf, len(self._images.leaves) - 1), info


def unshifted(table: np.ndarray, split: Split) -> np.ndarray:
    """Labels of remembered images as SSUL's released code reads them.

    Its channels are unknown, background and then the classes, and it forgets
    to shift these labels: background is read as unknown, the first class as
    background, each other one as the class before it.
    """
    shifted = table.astype(int) - 1
    shifted[table == 0] = split.unknown
    shifted[table == IGNORE] = IGNORE
    return shifted.astype(np.uint8)
