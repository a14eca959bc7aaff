#!/usr/bin/env python
"""Draws what each step sees of its training images: one contact sheet a step, step_k.png.

A row is an image, all of its labels, and the labels that the step trains on:
old and future classes are background there, ignored pixels white. No model is
built; images are neither resized nor augmented. Remembered images are left
out: they are chosen in training.
"""
from __future__ import annotations

import argparse
import textwrap
from itertools import chain, product, takewhile, zip_longest
from pathlib import Path
from typing import List, Sequence

import numpy as np
from mmcss.commands.config_options import add_run, load_config
from mmcss.datasets import MapLabels, MarkUnknown, StepDataset
from mmcss.datasets.readers import find_label_loaders
from mmcss.datasets.sources import image_name
from mmcss.engine import ContinualRunner
from mmcss.scenario import Split, TrainView
from mmcss.visualization import SheetRow, draw_contact_sheet
import mmcv
from mmcv.transforms import LoadAnnotations
from mmengine.fileio import get
from mmseg.registry import DATASETS

UNKNOWN = 'unknown'


def spread(holds: np.ndarray, number: int) -> List[int]:
    """Draw images so that classes come in turn, the same ones each time.

    Args:
        holds: ``[images, classes]`` bool.
        number: How many at most.

    Returns:
        Numbers of images, each once.
    """
    random = np.random.default_rng(0)  # not the first ones: those of a video are nearly the same
    queues = [random.permutation(np.flatnonzero(column)).tolist() for column in holds.T]
    turns = chain.from_iterable(zip_longest(*queues))
    return list(dict.fromkeys(image for image in turns if image is not None))[:number]


def class_names(dataset: StepDataset) -> List[str]:
    """All classes of a step's data set in learning order; those that no step learns stand last."""
    split = dataset.split
    return list(dict.fromkeys((*split.seen, *split.future, *dataset.images.names.foreground)))


def colours(dataset: StepDataset, names: Sequence[str]) -> List[List[int]]:
    """RGB of ``names`` and, behind them, of unknown: the colour that is farthest from all others, white included."""
    meta = dataset.images.leaves[0].metainfo
    known = dict(zip(dataset.images.names.listed, meta['palette']))
    palette = [list(map(int, known.get(name, (0, 0, 0)))) for name in names]
    free = np.array(list(product(range(0, 256, 51), repeat=3)))
    distance = np.abs(free[:, None] - np.array([*palette, [255] * 3])).sum(axis=2).min(axis=1)
    return [*palette, free[distance.argmax()].tolist()]


def read_row(dataset: StepDataset, number: int, names: Sequence[str]) -> SheetRow:
    """An image of a step, with its labels as indices of ``names`` and, behind them, unknown."""
    leaf, info = dataset.locate(number)
    transforms, position = find_label_loaders(dataset.pipelines[leaf])[0]
    loader, *mapping = takewhile(lambda transform: isinstance(transform, (LoadAnnotations, MapLabels, MarkUnknown)),
                                 transforms[position:])
    data = loader(info)
    raw = data['gt_seg_map']
    for transform in mapping:
        data = transform(data)
    everything = Split(0, (), tuple(names), (), tuple(names), dataset.split.background)
    # The step's own unknown stands behind its own classes.
    shown = np.arange(256, dtype=np.uint8)
    shown[dataset.split.unknown] = len(names)
    return SheetRow(
        name=image_name(dataset.images.leaves[leaf], info),
        image=mmcv.imfrombytes(get(info['img_path']), channel_order='rgb'),
        labels=TrainView().table(everything, dataset.images.names.raw_ids)[raw],
        step_labels=shown[data['gt_seg_map']])


def draw_step(dataset: StepDataset, number: int, out: Path) -> Path:
    """Draw the contact sheet of a step with ``number`` images at most."""
    split, images = dataset.split, dataset.images
    wanted = split.foreground(split.new or split.seen)  # steps of domains bring no class
    raw = [images.names.raw_ids[name] for name in wanted]
    holds = np.array([images.presence[leaf][image, raw] for leaf, image in dataset.index[:dataset.num_images]])
    names = class_names(dataset)
    rows = [read_row(dataset, image, names) for image in spread(holds, number)]
    new = ', '.join(split.domains.new if split.domains else wanted)
    title = f'step {split.step}: {dataset.num_images} training images\n{textwrap.shorten(f"new: {new}", 100)}'
    return draw_contact_sheet(rows, [*names, UNKNOWN], colours(dataset, names), title, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run(parser)
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder of the pictures (default: browse below --work-dir)')
    parser.add_argument('--images', type=int, default=8, help='images a step at most (default: 8)')
    args = parser.parse_args()
    if args.images < 1:
        parser.error(f'--images: got {args.images}, expected at least 1')
    runner = ContinualRunner.from_cfg(load_config(args))
    folder = args.out or runner.work_dir / 'browse'
    for step in runner.steps:
        images = dict(runner.configs[step].train_dataloader.dataset)
        if images['type'] == 'WithMemory':  # which is not there before the steps are trained
            images['path'] = None
        dataset = DATASETS.build(images)
        print(draw_step(dataset, args.images, folder / f'step_{step}.png'), flush=True)


if __name__ == '__main__':
    main()
