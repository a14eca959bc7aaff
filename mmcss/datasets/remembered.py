"""Remembered images as a step's data set shows them."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
from mmengine.dataset import BaseDataset

from ..scenario import IGNORE, Split, TrainView
from .exemplars import LABELS, Exemplar, ExemplarMemory, Labels, Source
from .labelled_images import LabelledImages
from .places import Places
from .saliency import saliency_path
from .sources import keep_zero


class RememberedImages:
    """The exemplars that the step before has left, ready to be loaded.

    Each goes by what it is, and not by its name: the data set may have moved,
    lie in another order, or be another one with files of the same names. An
    image of other data is read from where it was chosen.

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
        ValueError: ``memory.json`` is damaged, another image lies in the place
            of a remembered one, or the labels asked for are not in a copy.
    """

    def __init__(self, images: LabelledImages, index: np.ndarray, split: Split, view: TrainView,
                 path: Optional[str] = None, labels: Labels = LABELS[0], saliency: Optional[str] = None,
                 brought: bool = True) -> None:
        self.folder = Path(path or '.').parent
        self.memory = ExemplarMemory() if path is None else ExemplarMemory.load(path, split)
        self._images, self._split, self.view = images, split, view
        self._labels, self._saliency = labels, saliency
        self._places = Places(images)
        self.memory.exemplars = self._places.settled(self.memory.exemplars)
        self._first = self._places.first
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
        image = self.find(one)
        return one.labelled if self._is_copy(one, image) else self._kept(one, image)

    def read(self, one: Exemplar) -> Tuple[int, Dict[str, Any]]:
        """As :meth:`get_data_info`, for any exemplar of this data set."""
        image = self.find(one)
        if self._is_copy(one, image):
            return self._copy(one)
        if image is None or one.leaf is None:  # checked when the memory was read
            return self._elsewhere(one, one.origin)
        return one.leaf, self._reference(one, self._images.leaves[one.leaf], image)

    def find(self, one: Exemplar) -> Optional[int]:
        """Number of an exemplar's image in its leaf, None if it is not there."""
        return self._places.number(one.leaf, one.name)

    def _is_brought(self, one: Exemplar, image: int) -> bool:
        return one.leaf is not None and (self._first[one.leaf], image) in self._brought

    def _is_copy(self, one: Exemplar, image: Optional[int]) -> bool:
        """Whether an exemplar is read from its copy."""
        return bool(one.image) and not (image is not None and self._is_whole(one, image))

    def _is_whole(self, one: Exemplar, image: int) -> bool:
        """Whether the step brings the image of a copy, with the labels that the copy has."""
        return self._labels == 'stored' and self._is_brought(one, image) and self.is_labelled(one)

    def is_labelled(self, one: Exemplar) -> bool:
        """Whether the data set still labels all that an exemplar of it shows."""
        image, raw_ids = self.find(one), self._images.names.raw_ids
        if image is None or one.leaf is None or not set(one.holds) <= set(raw_ids):
            return False
        return bool(self._images.presence[one.leaf][image, [raw_ids[name] for name in one.holds]].all())

    def _kept(self, one: Exemplar, image: Optional[int]) -> Tuple[str, ...]:
        if self._labels != 'stored':
            return self._split.seen
        brought = image is not None and self._is_brought(one, image)
        return (*one.labelled, *(self.view.kept(self._split) if brought else ()))

    def _reference(self, one: Exemplar, leaf: BaseDataset, image: int) -> Dict[str, Any]:
        saliency = self._saliency and saliency_path(leaf, self._saliency, one.name)
        return self._with_labels(one, image, keep_zero(leaf.get_data_info(image)), self._images.names.raw_ids, saliency)

    def _elsewhere(self, one: Exemplar, source: Source) -> Tuple[int, Dict[str, Any]]:
        """What to load of an image that is not of the step's data."""
        files = dict(img_path=source.image, seg_map_path=source.labels, label_map=None, reduce_zero_label=False)
        if self._saliency is not None and not source.saliency:
            raise ValueError(f'the remembered image {source.image} was chosen without a saliency map; run the step '
                             'before with this config.')
        return self._pipeline_for(one), self._with_labels(one, None, files, source.values, source.saliency)

    def _with_labels(self, one: Exemplar, image: Optional[int], files: Dict[str, Any], raw_ids: Mapping[str, int],
                     saliency: Optional[str]) -> Dict[str, Any]:
        """Files of a reference with its table of labels, and its saliency map where the step has maps."""
        kept = self._kept(one, image)
        untold = [] if self._labels == 'stored' else [name for name in self._split.foreground(kept) if name not in raw_ids]
        if untold:
            raise ValueError(f"memory.labels: '{self._labels}' asks for labels of {untold}, but the data set of the remembered "
                             f"image {one.name} does not know these classes; take 'stored'.")
        if self._labels == 'unshifted':
            # That code reads no saliency of remembered images.
            known = replace(self.view, unknown=None).table(self._split, raw_ids, kept)
            return dict(files, label_table=unshifted(known, self._split), saliency_path=None)
        info = dict(files, label_table=self.view.table(self._split, raw_ids, kept))
        return info if self._saliency is None else dict(info, saliency_path=saliency)

    def _pipeline_for(self, one: Exemplar) -> int:
        """The leaf whose pipeline loads what is of none of the step's: one for images of that kind, if there is one."""
        suffix = Path(one.name).suffix
        kinds = [getattr(leaf, 'img_suffix', None) for leaf in self._images.leaves]
        last = len(kinds) - 1
        own = last if one.leaf is None else min(one.leaf, last)
        return own if kinds[own] == suffix or suffix not in kinds else kinds.index(suffix)

    def _copy(self, one: Exemplar) -> Tuple[int, Dict[str, Any]]:
        if self._labels != 'stored':
            raise ValueError(f"memory.labels: '{self._labels}' asks for labels that a copy has not; "
                             "take 'stored', or leave memory.export out.")
        image, labels = (self.folder / (name or '') for name in (one.image, one.labels))
        for path in (image, labels):
            if not path.is_file():
                raise FileNotFoundError(f'{path} is missing, a copy of the remembered image {one.name}; bring it back, or '
                                        'train the step before again.')
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[:self._split.num_seen] = np.arange(self._split.num_seen)
        info = dict(img_path=str(image), seg_map_path=str(labels), label_map=None, reduce_zero_label=False,
                    label_table=self.view.with_unknown(table, self._split), is_copy=True)
        if self._saliency is not None:
            if not one.saliency:
                raise ValueError(f'the remembered copy {one.image} of {one.name} was made without a saliency map; '
                                 'run the step before with this config.')
            info['saliency_path'] = str(self.folder / one.saliency)
        return self._pipeline_for(one), info


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
