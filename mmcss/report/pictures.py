"""What each step of some runs predicts for test images, as pictures within a page."""
from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from ..visualization import colourise, predict_steps
from ..visualization.predictions import IGNORE, name_table
from .collect import Colour, Run, newest_config

WIDEST = 320  # pixels


@dataclass(frozen=True)
class Pictures:
    """Rows of a run's name and titled pictures (``data:`` addresses), and the colours of the classes in them."""

    rows: Sequence[Tuple[str, Sequence[Tuple[str, str]]]]
    colours: Mapping[str, Colour]


@dataclass(frozen=True)
class _Tested:
    """Test images: their files, and the truth as ``[H, W]`` indices of ``classes``, 255 where ignored."""

    files: Sequence[str]
    truths: Sequence[np.ndarray]
    classes: Sequence[str]
    palette: Sequence[Colour]


def draw_pictures(runs: Sequence[Run], number: int, device: str = 'cpu') -> Pictures:
    """Predictions for test images across steps, a row for each image and run: image, truth, step 0, 1, ….

    Args:
        runs: The runs; the images are those of the first one that has most classes.
        number: How many images, evenly spaced in the test set.
        device: Where the models are run.

    Raises:
        FileNotFoundError: The run has no config, or its images are gone.
        ValueError: Runs have classes that the one with the images does not.
    """
    widest = max(runs, key=lambda run: len(run.last.classes))
    for run in runs:
        unknown = sorted(set(run.last.classes) - set(widest.last.classes))
        if unknown:
            raise ValueError(f'--images: {run.name} has the classes {unknown}, {widest.name} does not; report them apart.')
    tested = _tested(widest, number)
    rows = []
    predicted = {run.name: _predicted(run, tested, device) for run in runs}
    shown: List[np.ndarray] = [*tested.truths, *(label for steps in predicted.values() for step in steps for label in step)]
    for index, (file, truth) in enumerate(zip(tested.files, tested.truths)):
        with Image.open(file) as image:
            photograph = _address(np.asarray(image.convert('RGB')), 'JPEG')
        for name, steps in predicted.items():
            maps = {'truth': truth, **{f'step {step}': labels[index] for step, labels in enumerate(steps) if len(labels)}}
            rows.append((name, [('image', photograph), *((title, _address(colourise(labels, tested.palette)))
                                                         for title, labels in maps.items())]))
    present = np.unique(np.concatenate([np.unique(labels) for labels in shown]))
    return Pictures(rows, {tested.classes[index]: tested.palette[index] for index in present if index != IGNORE})


def _tested(run: Run, number: int) -> _Tested:
    """Test images of a run's last step."""
    path = newest_config(run.work_dir / f'step_{run.last.step}')
    if path is None:
        raise FileNotFoundError(f'--images: {run.work_dir} has no config of step {run.last.step} (vis_data/config.py), which '
                                'names the test images.')
    init_default_scope('mmseg')
    dataset = DATASETS.build(Config.fromfile(str(path)).test_dataloader.dataset)
    images = np.unique(np.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().astype(int)).tolist()
    samples = [dataset[index]['data_samples'] for index in images]
    return _Tested([sample.img_path for sample in samples],
                   [sample.gt_sem_seg.data[0].numpy().astype(np.uint8) for sample in samples],
                   list(dataset.metainfo['classes']), [tuple(colour) for colour in dataset.metainfo['palette']])


def _predicted(run: Run, tested: _Tested, device: str) -> List[List[np.ndarray]]:
    """``[step][image]``: ``[H, W]`` predictions of a run, as indices of the tested classes."""
    table = name_table(run.last.classes, tested.classes)
    return [[table[labels] for labels in step] for step in predict_steps(run.work_dir, tested.files, device)]


def _address(pixels: np.ndarray, kind: str = 'PNG') -> str:
    """An address that holds a picture: ``[H, W, 3]`` uint8 RGB, made smaller where it is too wide."""
    image = Image.fromarray(pixels)
    if image.width > WIDEST:
        # Nearest for label maps: a blend of two classes' colours may be that of a third.
        resample = Image.Resampling.LANCZOS if kind == 'JPEG' else Image.Resampling.NEAREST
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), resample)
    data = io.BytesIO()
    image.save(data, kind, **options_of(kind))
    return f'data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}'


def options_of(kind: str) -> Dict[str, int]:
    """Options of Pillow for a kind of picture."""
    return dict(quality=88) if kind == 'JPEG' else {}
