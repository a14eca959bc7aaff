"""Where the pixels and labels of exemplars are read from."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Set, Tuple

import numpy as np
from mmengine.dataset import BaseDataset

from ..datasets.labelled_images import LabelledImages
from ..datasets.saliency import saliency_path
from ..datasets.sources import keep_zero
from ..scenario import IGNORE, Split, TrainView
from .exemplar import Exemplar, Memory, Source
from .labels import DEFAULT_LABELS, LABELS
from .places import Places


class ExemplarStorage:
    """The exemplars that the step before has left, ready to be loaded.

    Each is identified by its content, not by its name: the data set may have
    moved, be in another order, or be another one with the same file names.
    Images of other data are read from where they were chosen.

    An exemplar that is an image of this step too (it holds a new class) is
    also labelled with the new classes, or its pixels of these would be
    trained as background. A copy is labelled so only if the data set still
    labels all that the copy shows; it is then read from there.

    Args:
        images: The data set that references point into.
        index: The step's images, see :meth:`LabelledImages.select`; those
            that are stored too are labelled with the new classes.
        split: The step that replays them.
        view: Its view of the data.
        path: ``memory.json`` of the step before; None for no memory.
        labels: Which labels they have, of :data:`LABELS`.
        saliency: Folder of saliency maps, or None.

    Raises:
        FileNotFoundError: There is no memory, or the data set has lost an
            image that it refers to.
        ValueError: ``memory.json`` is damaged, another image lies in the place
            of a remembered one, or the labels asked for are not in a copy.
    """

    def __init__(self, images: LabelledImages, index: np.ndarray, split: Split, view: TrainView,
                 path: Optional[str] = None, labels: str = DEFAULT_LABELS, saliency: Optional[str] = None) -> None:
        self.folder = Path(path or '.').parent
        self.memory = Memory() if path is None else Memory.load(path, split)
        self._images, self._split, self._view = images, split, view
        self._labels, self._labels_name, self._saliency = LABELS[labels], labels, saliency
        self._places = Places(images)
        self.memory.exemplars = self._places.settled(self.memory.exemplars)
        first = self._places.first
        self._step_images: Set[Tuple[int, int]] = {(first[leaf], image) for leaf, image in index.tolist()}
        for exemplar in self.memory.exemplars:  # one that can't be read is an error at once
            self.read(exemplar)

    def labelled_classes(self, exemplar: Exemplar) -> Tuple[str, ...]:
        """The classes that an exemplar is labelled with."""
        image = self.find(exemplar)
        return exemplar.labelled if self._is_copy(exemplar, image) else self._reference_classes(exemplar, image)

    def read(self, exemplar: Exemplar) -> Tuple[int, Dict[str, Any]]:
        """Number of the leaf whose pipeline loads an exemplar of this data set, and what to load, with its label table."""
        image = self.find(exemplar)
        if self._is_copy(exemplar, image):
            leaf, info = self._pipeline_for(exemplar), self._copy(exemplar)
        elif image is None or exemplar.leaf is None:  # checked when the memory was read
            leaf, info = self._pipeline_for(exemplar), self._elsewhere(exemplar, exemplar.origin)
        else:
            leaf, info = exemplar.leaf, self._reference(exemplar, self._images.leaves[exemplar.leaf], image)
        return leaf, dict(info, seg_fields=[])

    def find(self, exemplar: Exemplar) -> Optional[int]:
        """Number of an exemplar's image in its leaf, None if it is not there."""
        return self._places.number(exemplar.leaf, exemplar.name)

    def has_labels_of(self, exemplar: Exemplar) -> bool:
        """Whether the data set still labels all that an exemplar of it shows."""
        image, raw_ids = self.find(exemplar), self._images.names.raw_ids
        if image is None or exemplar.leaf is None or not set(exemplar.holds) <= set(raw_ids):
            return False
        return bool(self._images.presence[exemplar.leaf][image, [raw_ids[name] for name in exemplar.holds]].all())

    def _is_step_image(self, exemplar: Exemplar, image: Optional[int]) -> bool:
        return image is not None and exemplar.leaf is not None and (self._places.first[exemplar.leaf], image) in self._step_images

    def _is_copy(self, exemplar: Exemplar, image: Optional[int]) -> bool:
        """Whether an exemplar is read from its copy: not if the step has the image, with all labels of the copy."""
        whole = self._labels.from_copies and self._is_step_image(exemplar, image) and self.has_labels_of(exemplar)
        return bool(exemplar.image) and not whole

    def _reference_classes(self, exemplar: Exemplar, image: Optional[int]) -> Tuple[str, ...]:
        return self._labels.labelled_classes(exemplar, self._split, self._view, self._is_step_image(exemplar, image))

    def _reference(self, exemplar: Exemplar, leaf: BaseDataset, image: int) -> Dict[str, Any]:
        saliency = self._saliency and saliency_path(leaf, self._saliency, exemplar.name)
        return self._with_labels(exemplar, image, keep_zero(leaf.get_data_info(image)), self._images.names.raw_ids, saliency)

    def _elsewhere(self, exemplar: Exemplar, source: Source) -> Dict[str, Any]:
        """What to load of an image that is not of the step's data."""
        files = dict(img_path=source.image, seg_map_path=source.labels, label_map=None, reduce_zero_label=False)
        if self._saliency is not None and not source.saliency:
            raise ValueError(f'the remembered image {source.image} was chosen without a saliency map; run the step '
                             'before with this config.')
        return self._with_labels(exemplar, None, files, source.values, source.saliency)

    def _with_labels(self, exemplar: Exemplar, image: Optional[int], files: Dict[str, Any], raw_ids: Mapping[str, int],
                     saliency: Optional[str]) -> Dict[str, Any]:
        """Files of a reference with its table of labels, and its saliency map where the step has maps."""
        try:
            table = self._labels.table(self._reference_classes(exemplar, image), self._split, self._view, raw_ids)
        except ValueError as error:
            raise ValueError(f"continual.memory.labels: got '{self._labels_name}', but the data set of the remembered image "
                             f"{exemplar.name} does not have them: {error}; take 'stored'.") from error
        info = dict(files, label_table=table)
        if self._saliency is not None:
            info['saliency_path'] = saliency if self._labels.with_saliency else None
        return info

    def _pipeline_for(self, exemplar: Exemplar) -> int:
        """The leaf whose pipeline loads an image of other data: one for images of its file type, if there is one."""
        suffix = Path(exemplar.name).suffix
        kinds = [getattr(leaf, 'img_suffix', None) for leaf in self._images.leaves]
        last = len(kinds) - 1
        number = last if exemplar.leaf is None else min(exemplar.leaf, last)
        return number if kinds[number] == suffix or suffix not in kinds else kinds.index(suffix)

    def _copy(self, exemplar: Exemplar) -> Dict[str, Any]:
        if not self._labels.from_copies:
            raise ValueError(f"continual.memory.labels: got '{self._labels_name}', which a copy does not have; take 'stored', "
                             'or leave memory.export out.')
        image, labels = (self.folder / (name or '') for name in (exemplar.image, exemplar.labels))
        for path in (image, labels):
            if not path.is_file():
                raise FileNotFoundError(f'{path} is missing, a copy of the remembered image {exemplar.name}; bring it back, or '
                                        'train the step before again.')
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[:self._split.num_seen] = np.arange(self._split.num_seen)
        info = dict(img_path=str(image), seg_map_path=str(labels), label_map=None, reduce_zero_label=False,
                    label_table=self._view.with_unknown(table, self._split), is_copy=True)
        if self._saliency is not None:
            if not exemplar.saliency:
                raise ValueError(f'the remembered copy {exemplar.image} of {exemplar.name} was made without a saliency map; '
                                 'run the step before with this config.')
            info['saliency_path'] = str(self.folder / exemplar.saliency)
        return info
