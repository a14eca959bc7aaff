"""What is written of the images that are to be remembered: where they lie, or copies of them."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List, Sequence

import mmcv
import numpy as np
from mmengine.fileio import get
from PIL import Image

from ..datasets.readers import LabelReader
from ..datasets.saliency import saliency_path
from ..files import PARTIAL, flush_files, flush_folder, remove
from ..scenario import TrainView
from .buffer import Candidate
from .dataset import WithMemory
from .exemplar import Exemplar
from .places import with_source


def written(dataset: WithMemory, chosen: Sequence[Candidate], folder: Path, export: bool) -> List[Exemplar]:
    """The exemplars of chosen images.

    Args:
        dataset: The step's data set.
        chosen: The images.
        folder: Where copies go, below ``memory``.
        export: Whether all become copies; else only those that were copies
            before, whose files of the step before may go.

    Returns:
        First the copies, then references, with what later steps find them by.
    """
    copied = [candidate for candidate in chosen if export or candidate.exemplar.image]
    exemplars = write_copies(dataset, copied, folder) if copied else []
    return exemplars + [noted(dataset, candidate.exemplar) for candidate in chosen if not (export or candidate.exemplar.image)]


def noted(dataset: WithMemory, exemplar: Exemplar) -> Exemplar:
    """An exemplar with what later steps find its image by."""
    image = dataset.storage.find(exemplar)
    if image is None or exemplar.leaf is None:  # of other data
        return exemplar
    if exemplar.image and exemplar.source is None:  # a copy that goes by its name
        return exemplar
    leaf = dataset.images.leaves[exemplar.leaf]
    saliency = dataset.saliency and saliency_path(leaf, dataset.saliency, exemplar.name)
    return with_source(dataset.images, exemplar, leaf, image, saliency)


def write_copies(dataset: WithMemory, chosen: Sequence[Candidate], folder: Path) -> List[Exemplar]:
    """Self-contained copies of remembered images: files, label maps in learning order, saliency maps.

    What an earlier run left in the folder's ``memory`` is replaced.

    Args:
        dataset: The step's data set.
        chosen: Which images.
        folder: Where the files go, below ``memory``.

    Returns:
        Exemplars that name the copies.
    """
    partial = folder / f'memory{PARTIAL}'
    remove(partial)
    for kind in ('images', 'labels', 'saliency'):
        (partial / kind).mkdir(parents=True)
    exemplars = [_write_copy(dataset, candidate, partial, number) for number, candidate in enumerate(chosen)]
    flush_files(partial)
    remove(folder / 'memory')
    partial.rename(folder / 'memory')
    flush_folder(folder)
    return exemplars


def _write_copy(dataset: WithMemory, candidate: Candidate, folder: Path, number: int) -> Exemplar:
    old = noted(dataset, candidate.exemplar)
    before, label_map = dataset.storage.folder, None
    if old.image and old.labels:
        source, saliency = before / old.image, before / old.saliency if old.saliency else None
        label_map = np.array(Image.open(before / old.labels))
    else:
        info = dataset.get_data_info(candidate.numbers[0])
        source, saliency = info['img_path'], info.get('saliency_path')
    image, labels = f'images/{number:05d}{Path(source).suffix}', f'labels/{number:05d}.png'
    (folder / image).write_bytes(get(str(source)))
    if label_map is None or any(i < len(dataset) for i in candidate.numbers):
        now = _labels(dataset, candidate)
        label_map = now if label_map is None else np.where(label_map == 0, now, label_map)
    mmcv.imwrite(label_map, str(folder / labels))
    copied = None
    if saliency is not None:
        copied = f'saliency/{number:05d}.png'
        (folder / copied).write_bytes(get(str(saliency)))
    return replace(old, image=f'memory/{image}', labels=f'memory/{labels}',
                   saliency=f'memory/{copied}' if copied else None)


def _labels(dataset: WithMemory, candidate: Candidate) -> np.ndarray:
    """``[H, W]`` labels of an image of the data set, in learning order, without unknown."""
    leaf_number, info = dataset.locate(candidate.numbers[-1])
    leaf, step_view = dataset.images.leaves[leaf_number], dataset.view
    view = TrainView(regime=step_view.regime, ignore_as_background=step_view.ignore_as_background)
    raw_ids = candidate.exemplar.origin.values if candidate.exemplar.leaf is None else dataset.images.names.raw_ids
    return view.table(dataset.split, raw_ids, candidate.exemplar.labelled)[LabelReader(leaf)(info)]
