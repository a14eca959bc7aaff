"""What a step may leave to be remembered."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import mmcv
import numpy as np
from mmengine.fileio import get
from PIL import Image

from ..files import PARTIAL, flush_files, flush_folder, remove
from ..scenario import TrainView
from .exemplars import Exemplar
from .places import with_source
from .readers import LabelReader
from .saliency import saliency_path
from .sources import image_name
from .step_dataset import StepDataset


@dataclass(frozen=True)
class Candidate:
    """An image that may be remembered.

    Args:
        exemplar: What would be remembered.
        numbers: Its numbers in the step's data set: as an image of the step,
            as a remembered one, or both.
        remembered: Whether it was remembered before.
    """

    exemplar: Exemplar
    numbers: Tuple[int, ...]
    remembered: bool

    @property
    def key(self) -> Tuple[Any, ...]:
        """What names the image: its leaf and file; where it is of none of the step's data, the files it was chosen from."""
        one = self.exemplar
        return (one.leaf, one.name) if one.leaf is not None else (None, one.origin.image, one.origin.labels)


def candidates_of(dataset: StepDataset) -> List[Candidate]:
    """The images that a step replays, then those that it brings, each once.

    An image that is both carries the labels of both.
    """
    found = {one.key: one for one in remembered_candidates(dataset)}
    for one in new_candidates(dataset):
        found[one.key] = merged(found[one.key], one) if one.key in found else one
    return list(found.values())


def remembered_candidates(dataset: StepDataset) -> List[Candidate]:
    """The images that a step replays."""
    return [Candidate(one, (len(dataset) + number, ), True)
            for number, one in enumerate(dataset.remembered.memory.exemplars)]


def new_candidates(dataset: StepDataset) -> List[Candidate]:
    """The images that a step brings, each once, with the labels that it gives them."""
    found: Dict[Tuple[Any, ...], Candidate] = {}
    images, split = dataset.images, dataset.split
    classes = split.foreground(dataset.remembered.view.kept(split))
    raw = [images.names.raw_ids[name] for name in classes]
    # A leaf that is repeated goes by its first number.
    first = {id(leaf): number for number, leaf in reversed(list(enumerate(images.leaves)))}
    for number, (leaf_number, image) in enumerate(dataset.index[:dataset.num_images].tolist()):
        leaf = images.leaves[leaf_number]
        key = (first[id(leaf)], image_name(leaf, leaf.get_data_info(image)))
        if key not in found:
            shown = images.presence[leaf_number][image, raw]
            one = Exemplar(*key, labelled=classes, holds=tuple(np.asarray(classes)[shown].tolist()))
            found[key] = Candidate(one, (number, ), False)
    return list(found.values())


def holds_of(candidates: Sequence[Candidate], classes: Sequence[str]) -> np.ndarray:
    """``[n, C]`` bool: which of the classes each candidate is known to show."""
    shown = [[name in one.exemplar.holds for name in classes] for one in candidates]
    return np.array(shown, dtype=bool).reshape(len(candidates), len(classes))


def merged(before: Candidate, fresh: Candidate) -> Candidate:
    """An image that is remembered and comes again, with the labels of both."""
    old, new = before.exemplar, fresh.exemplar
    both = replace(
        old,
        labelled=old.labelled + tuple(name for name in new.labelled if name not in old.labelled),
        holds=old.holds + tuple(name for name in new.holds if name not in old.holds))
    return Candidate(both, before.numbers + fresh.numbers, before.remembered)


def noted(dataset: StepDataset, chosen: Sequence[Candidate]) -> List[Exemplar]:
    """The exemplars of chosen candidates, with what later steps find their images by."""
    return [_noted(dataset, one) for one in chosen]


def _noted(dataset: StepDataset, one: Candidate) -> Exemplar:
    exemplar = one.exemplar
    image = dataset.remembered.find(exemplar)
    if image is None or exemplar.leaf is None:  # of other data
        return exemplar
    if exemplar.image and exemplar.source is None:  # a copy that goes by its name
        return exemplar
    leaf = dataset.images.leaves[exemplar.leaf]
    saliency = dataset.saliency and saliency_path(leaf, dataset.saliency, exemplar.name)
    return with_source(dataset.images, exemplar, leaf, image, saliency)


def write_copies(dataset: StepDataset, chosen: List[Candidate], folder: Path) -> List[Exemplar]:
    """Self-contained copies of remembered images: files, label maps in learning order, saliency maps.

    Args:
        dataset: The step's data set.
        chosen: Which images.
        folder: Where the files go, below ``memory``; what an earlier run left
            there is replaced.

    Returns:
        Exemplars that name the copies.
    """
    partial = folder / f'memory{PARTIAL}'
    remove(partial)
    for kind in ('images', 'labels', 'saliency'):
        (partial / kind).mkdir(parents=True)
    exemplars = [_write_copy(dataset, one, partial, number) for number, one in enumerate(chosen)]
    flush_files(partial)
    remove(folder / 'memory')
    partial.rename(folder / 'memory')
    flush_folder(folder)
    return exemplars


def _write_copy(dataset: StepDataset, one: Candidate, folder: Path, number: int) -> Exemplar:
    old = _noted(dataset, one)
    fresh = [i for i in one.numbers if i < len(dataset)]
    before, label_map = dataset.remembered.folder, None
    if old.image and old.labels:
        source, saliency = before / old.image, before / old.saliency if old.saliency else None
        label_map = np.array(Image.open(before / old.labels))
    else:
        source = dataset.get_data_info(one.numbers[0])['img_path']
        saliency = dataset.get_data_info(one.numbers[0]).get('saliency_path')
    image, labels = f'images/{number:05d}{Path(source).suffix}', f'labels/{number:05d}.png'
    (folder / image).write_bytes(get(str(source)))
    if fresh or label_map is None:
        now = _labels(dataset, one)
        label_map = now if label_map is None else np.where(label_map == 0, now, label_map)
    mmcv.imwrite(label_map, str(folder / labels))
    copied = None
    if saliency is not None:
        copied = f'saliency/{number:05d}.png'
        (folder / copied).write_bytes(get(str(saliency)))
    return replace(old, image=f'memory/{image}', labels=f'memory/{labels}',
                   saliency=f'memory/{copied}' if copied else None)


def _labels(dataset: StepDataset, one: Candidate) -> np.ndarray:
    """``[H, W]`` labels of an image of the data set, in learning order, without unknown."""
    leaf_number, info = dataset.locate(one.numbers[-1])
    leaf = dataset.images.leaves[leaf_number]
    own = dataset.remembered.view
    view = TrainView(regime=own.regime, ignore_as_background=own.ignore_as_background)
    raw_ids = one.exemplar.origin.values if one.exemplar.leaf is None else dataset.images.names.raw_ids
    table = view.table(dataset.split, raw_ids, one.exemplar.labelled)
    return table[LabelReader(leaf)(info)]
