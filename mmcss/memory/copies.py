"""What is written of the images to remember: where they lie, or copies of them."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List, Sequence

import mmcv
import numpy as np
from mmengine.fileio import get
from PIL import Image

from ..datasets.readers import LabelReader
from ..files import PARTIAL, flush_files, flush_folder, remove
from ..scenario import TrainView
from .buffer import Candidate
from .dataset import WithMemory
from .exemplar import Exemplar


def written(dataset: WithMemory, chosen: Sequence[Candidate], folder: Path, export: bool) -> List[Exemplar]:
    """The exemplars of chosen images, with what later steps find them by: first copies, then references.

    Args:
        dataset: The step's data set.
        chosen: The images.
        folder: Where copies go, below ``memory``.
        export: Whether all become copies; else only those that were copies
            before, as the files of the step before may be deleted.
    """
    copied = [candidate for candidate in chosen if export or candidate.exemplar.image]
    referred = [candidate for candidate in chosen if not (export or candidate.exemplar.image)]
    exemplars = write_copies(dataset, copied, folder) if copied else []
    return exemplars + [dataset.storage.with_source(candidate.exemplar) for candidate in referred]


def write_copies(dataset: WithMemory, chosen: Sequence[Candidate], folder: Path) -> List[Exemplar]:
    """Self-contained copies of remembered images: files, label maps in learning order, saliency maps.

    They replace what an earlier run left in the folder's ``memory``.

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
    old = dataset.storage.with_source(candidate.exemplar)
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
        new_labels = _labels(dataset, candidate)
        label_map = new_labels if label_map is None else np.where(label_map == 0, new_labels, label_map)
    mmcv.imwrite(label_map, str(folder / labels))
    copied = None
    if saliency is not None:
        copied = f'memory/saliency/{number:05d}.png'
        (folder / 'saliency' / Path(copied).name).write_bytes(get(str(saliency)))
    return replace(old, image=f'memory/{image}', labels=f'memory/{labels}', saliency=copied)


def _labels(dataset: WithMemory, candidate: Candidate) -> np.ndarray:
    """``[H, W]`` labels of an image of the data set, in learning order, without unknown."""
    exemplar, step_view = candidate.exemplar, dataset.view
    leaf, info = dataset.locate(candidate.numbers[-1])
    view = TrainView(regime=step_view.regime, ignore_as_background=step_view.ignore_as_background)
    raw_ids = exemplar.source.values if exemplar.leaf is None else dataset.images.names.raw_ids
    return view.table(dataset.split, raw_ids, exemplar.labelled)[LabelReader(dataset.images.leaves[leaf])(info)]
