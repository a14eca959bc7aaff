"""Where the pixels and labels of exemplars are read from."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional, Set, Tuple

import numpy as np

from ..datasets.labelled_images import LabelledImages
from ..datasets.saliency import saliency_path
from ..datasets.sources import file_values, keep_zero
from ..scenario import IGNORE, Split, TrainView
from .exemplar import Exemplar, Memory, Source
from .labels import DEFAULT_LABELS, LABELS
from .places import Places, digest_of


class ExemplarStorage:
    """The exemplars of the step before, ready to be loaded.

    They are identified by content, not by name: the data set may have moved,
    changed its order, or be another one with the same file names. Images that
    are not in the step's data set are read from where they were chosen.

    An exemplar that is also an image of the step (it holds a new class) is
    labelled with the new classes too, or their pixels would be trained as
    background. A copy is so only if the data set still labels all that the
    copy shows; it is then read from the data set.

    Args:
        images: The step's data set.
        index: The step's images (:meth:`LabelledImages.select`) that get the
            new labels if they are stored too.
        split: The step that replays them.
        view: Its view of the data.
        path: ``memory.json`` of the step before; None for no memory.
        labels: Which labels they have, of :data:`LABELS`.
        saliency: Folder of saliency maps, or None.

    Raises:
        FileNotFoundError: There is no memory, or an image or copy of it is gone.
        ValueError: ``memory.json`` is damaged, another image lies in the place
            of a remembered one, or a copy lacks the labels asked for.
    """

    def __init__(self, images: LabelledImages, index: np.ndarray, split: Split, view: TrainView,
                 path: Optional[str] = None, labels: str = DEFAULT_LABELS, saliency: Optional[str] = None) -> None:
        self.folder = Path(path or '.').parent
        self.memory = Memory() if path is None else Memory.load(path, split)
        self._images, self._split, self._view = images, split, view
        self._labels, self._labels_name, self._saliency = LABELS[labels], labels, saliency
        self._places = Places(images)
        self.memory.exemplars = self._places.located(self.memory.exemplars)
        self._step_images: Set[Tuple[int, int]] = {(images.first_leaf[leaf], image) for leaf, image in index.tolist()}
        for exemplar in self.memory.exemplars:  # unreadable ones raise at once
            self.read(exemplar)

    def labelled_classes(self, exemplar: Exemplar) -> Tuple[str, ...]:
        """The classes whose labels an exemplar is read with."""
        if self._reads_copy(exemplar):
            return exemplar.labelled
        return self._labels.labelled_classes(exemplar, self._split, self._view, self._is_step_image(exemplar))

    def read(self, exemplar: Exemplar) -> Tuple[int, Dict[str, Any]]:
        """Number of the leaf whose pipeline loads an exemplar, and what to load, with its label table."""
        copied = self._reads_copy(exemplar)
        info = self._copy(exemplar) if copied else self._original(exemplar)
        leaf = self._leaf_for(exemplar) if copied or exemplar.leaf is None else exemplar.leaf
        return leaf, dict(info, seg_fields=[])

    def has_labels_of(self, exemplar: Exemplar) -> bool:
        """Whether the step's data set still labels all that an exemplar shows."""
        raw_ids = self._images.names.raw_ids
        if exemplar.leaf is None or not set(exemplar.holds) <= set(raw_ids):
            return False
        shown = self._images.presence[exemplar.leaf][self._places.numbers(exemplar.leaf)[exemplar.name]]
        return bool(shown[[raw_ids[name] for name in exemplar.holds]].all())

    def with_source(self, exemplar: Exemplar) -> Exemplar:
        """An exemplar with what later steps find its image by; one of other data has that already."""
        if exemplar.leaf is None:
            return exemplar
        leaf = self._images.leaves[exemplar.leaf]
        info = leaf.get_data_info(self._places.numbers(exemplar.leaf)[exemplar.name])
        files = str(info['img_path']), str(info['seg_map_path'])
        digest = exemplar.source.digest if exemplar.source else digest_of(leaf, *files)
        saliency = self._saliency and saliency_path(leaf, self._saliency, exemplar.name)
        return replace(exemplar, source=Source(*files, digest, file_values(self._images.names, info), saliency))

    def _is_step_image(self, exemplar: Exemplar) -> bool:
        if exemplar.leaf is None:
            return False
        return (exemplar.leaf, self._places.numbers(exemplar.leaf)[exemplar.name]) in self._step_images

    def _reads_copy(self, exemplar: Exemplar) -> bool:
        """Whether an exemplar is read from its copy: not if the step has the image, with all labels of the copy."""
        whole = self._labels.from_copies and self._is_step_image(exemplar) and self.has_labels_of(exemplar)
        return bool(exemplar.image) and not whole

    def _original(self, exemplar: Exemplar) -> Dict[str, Any]:
        """What to load of an image in the step's data set, or where it was chosen."""
        if exemplar.leaf is None:
            source = exemplar.source
            raw_ids, saliency = source.values, source.saliency
            info: Dict[str, Any] = dict(img_path=source.image, seg_map_path=source.labels, label_map=None,
                                        reduce_zero_label=False)
            if self._saliency is not None and not saliency:
                raise ValueError(f'the remembered image {source.image} was chosen without a saliency map; run the step '
                                 'before with this config.')
        else:
            leaf, raw_ids = self._images.leaves[exemplar.leaf], self._images.names.raw_ids
            info = keep_zero(leaf.get_data_info(self._places.numbers(exemplar.leaf)[exemplar.name]))
            saliency = self._saliency and saliency_path(leaf, self._saliency, exemplar.name)
        try:
            info['label_table'] = self._labels.table(self.labelled_classes(exemplar), self._split, self._view, raw_ids)
        except ValueError as error:
            raise ValueError(f"continual.memory.labels: got '{self._labels_name}', but the data set of the remembered image "
                             f"{exemplar.name} does not have these labels: {error}; take 'stored'.") from error
        if self._saliency is not None:
            info['saliency_path'] = saliency if self._labels.with_saliency else None
        return info

    def _leaf_for(self, exemplar: Exemplar) -> int:
        """The leaf whose pipeline loads a copy or an image of other data: one for its file type, if there is one."""
        suffix = Path(exemplar.name).suffix
        kinds = [getattr(leaf, 'img_suffix', None) for leaf in self._images.leaves]
        number = len(kinds) - 1 if exemplar.leaf is None else exemplar.leaf
        return number if kinds[number] == suffix or suffix not in kinds else kinds.index(suffix)

    def _copy(self, exemplar: Exemplar) -> Dict[str, Any]:
        """What to load of a copy."""
        if not self._labels.from_copies:
            raise ValueError(f"continual.memory.labels: got '{self._labels_name}', which copies do not have; take 'stored', "
                             'or remove continual.memory.export.')
        image, labels = (self.folder / (name or '') for name in (exemplar.image, exemplar.labels))
        for path in (image, labels):
            if not path.is_file():
                raise FileNotFoundError(f'{path}, a copy of the remembered image {exemplar.name}, is missing; restore it, or '
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
