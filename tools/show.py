#!/usr/bin/env python
"""Draw what each step of one or more runs makes of some images.

    python tools/show.py OUT.png --images a.jpg b.jpg --labels a.png b.png --classes-json classes.json \\
        --runs finetune=work_dirs/a PLOP=work_dirs/b

The runs may have learned their classes in different orders: labels and
predictions are brought to one order by name. Pixels of classes that no run
has learned yet are drawn as ignored.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from _runs import METAVAR, NamedRuns

import numpy as np
import torch
from PIL import Image

import mmcss  # noqa: F401  (first: it readies MMSegmentation, which mmcss.visualization imports)
from mmcss.visualization import draw_predictions, name_table, predict_steps, trained_steps

BACKGROUND = 'background'


def dataset_meta(work_dir: Path) -> Dict[str, Any]:
    """``classes`` and ``palette`` of the last trained step of a run."""
    folder = list(trained_steps(work_dir).values())[-1]
    checkpoint = torch.load(folder / f'{folder.name}.pth', map_location='cpu', weights_only=True)
    meta = checkpoint['meta']['dataset_meta']
    return dict(classes=list(meta['classes']), palette=[list(colour) for colour in meta['palette']])


def common_meta(metas: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The metainfo of the run that knows most classes.

    Raises:
        ValueError: Another run knows a class that this one doesn't.
    """
    widest = max(metas, key=lambda name: len(metas[name]['classes']))
    for name, meta in metas.items():
        unknown = sorted(set(meta['classes']) - set(metas[widest]['classes']))
        if unknown:
            raise ValueError(f'run {name!r} knows the classes {unknown}, run {widest!r} does not: '
                             'they are of different data sets or stand at different steps. Show them apart.')
    return metas[widest]


def read_label(path: Path) -> np.ndarray:
    """``[H, W]`` uint8 raw label values."""
    label = np.asarray(Image.open(path))
    if label.ndim != 2:
        raise ValueError(f'{path}: got an image of shape {label.shape}, a label map has one channel.')
    return label


def show(out: Path, images: Sequence[Path], labels: Sequence[Path], runs: Mapping[str, Path], names: Sequence[str],
         device: str = 'cpu') -> Path:
    """Draw the picture.

    Args:
        out: The picture to write.
        images: Image files.
        labels: Their raw label files.
        runs: Work folder of each run, by the name to show.
        names: Classes of the raw label values 1, 2, …, where the runs know a
            background, which is 0; else of 0, 1, ….
        device: Where the models run.

    Raises:
        ValueError: The classes of the runs or of ``names`` don't fit together.
    """
    metas = {name: dataset_meta(work_dir) for name, work_dir in runs.items()}
    meta = common_meta(metas)
    missing = sorted(set(meta['classes']) - {BACKGROUND, *names})
    if missing:
        raise ValueError(f'the runs know the classes {missing}, which --classes-json does not name: '
                         f'it has {list(names)}.')
    background = [name for name in meta['classes'] if name == BACKGROUND]
    truth_table = name_table([*background, *names], meta['classes'])
    predictions: Dict[str, List[List[np.ndarray]]] = {}
    for name, work_dir in runs.items():
        table = name_table(metas[name]['classes'], meta['classes'])
        predictions[name] = [[table[label] for label in step] for step in predict_steps(work_dir, images, device)]
    return draw_predictions([np.asarray(Image.open(path).convert('RGB')) for path in images],
                            [truth_table[read_label(path)] for path in labels], predictions, meta['classes'],
                            meta['palette'], out)


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description='Draw what each step of one or more runs makes of some images.')
    parser.add_argument('out', type=Path, help='picture to write')
    parser.add_argument('--images', type=Path, nargs='+', required=True, help='image files')
    parser.add_argument('--labels', type=Path, nargs='+', required=True, help='raw label files of the images')
    parser.add_argument('--runs', nargs='+', action=NamedRuns, required=True, metavar=METAVAR)
    parser.add_argument('--classes-json', type=Path, required=True,
                        help='JSON list of the classes of the raw label values 1, 2, … (0, 1, … of data without background)')
    parser.add_argument('--device', default='cpu', help='where the models run (default: cpu)')
    options = parser.parse_args(arguments)
    if len(options.images) != len(options.labels):
        parser.error(f'got {len(options.images)} images and {len(options.labels)} labels')
    names = json.loads(options.classes_json.read_text())
    print(show(options.out, options.images, options.labels, options.runs, names, options.device))


if __name__ == '__main__':
    main()
