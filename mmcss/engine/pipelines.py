"""Runs each pipeline of a config once on a random image, before a run starts."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from ..files import plain, short
from .config_nodes import class_of, walk
from .miniature import RandomPixels
from .stated_classes import leaf_configs

SKIP_ADVICE = ' If it works on your images, skip this check with --no-rehearsal (run.rehearsal=False).'
SIZE = 1024  # pixels of an image's sides; crops are rarely larger


def check_pipelines(configs: Sequence[Config], folder: Path, channels: int) -> None:
    """Run the stock pipelines of steps on a random image.

    Args:
        configs: The plain config of each step.
        folder: Where the labels are written to.
        channels: Of the images.

    Raises:
        ValueError: Names the transform that fails, or the sizes if labels are not as large as the image (in tests: as its
            file).
    """
    labels = folder / 'labels.png'
    Image.fromarray(np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) % 2, np.ones((SIZE // 4, ) * 2, np.uint8))).save(labels)
    done = []
    for step, config in enumerate(configs):
        for role in ('train', 'val', 'test'):
            leaf = next(leaf_configs(config[f'{role}_dataloader'].dataset)) if config.get(f'{role}_dataloader') else {}
            pipeline = [plain(transform) for transform in leaf.get('pipeline') or ()]
            if pipeline and (role, pipeline) not in done and _is_stock(leaf, pipeline):
                done.append((role, copy.deepcopy(pipeline)))
                _run(pipeline, f'step {step}: {role}_dataloader.dataset.pipeline', labels, channels, role != 'train')


def _is_stock(dataset: Mapping[str, Any], pipeline: Sequence[Dict[str, Any]]) -> bool:
    """Whether the data set and the transforms that load its files are MMSegmentation's."""
    kinds = [class_of(TRANSFORMS, node['type']) for node in walk(pipeline) if 'type' in node]
    loaders = [kind for kind in kinds if getattr(kind, '__name__', '').startswith('Load')]
    return (getattr(class_of(DATASETS, dataset['type']), 'load_data_list', None) is BaseSegDataset.load_data_list
            and kinds[0] is LoadImageFromFile and all(kind in (LoadImageFromFile, LoadAnnotations) for kind in loaders))


def _run(pipeline: Sequence[Dict[str, Any]], place: str, labels: Path, channels: int, test: bool) -> None:
    data: Any = dict(img_path='random.png', seg_map_path=str(labels), seg_fields=[], reduce_zero_label=False, label_map=None)
    for node in walk(pipeline):  # with default settings: how files are read does not matter here
        if 'type' in node and class_of(TRANSFORMS, node['type']) is LoadAnnotations:
            node.clear()
            node['type'] = 'LoadAnnotations'
    data = RandomPixels(SIZE, channels)(data)
    data['img'] = data['img'].astype(np.float32 if pipeline[0].get('to_float32') else np.uint8)
    for number, transform in list(enumerate(pipeline))[1:]:
        try:
            data = TRANSFORMS.build(dict(transform))(data)
        except Exception as error:  # any: it would raise in the run
            raise ValueError(f'{place}[{number}]: got {short(transform, 200)}, which fails on random images: '
                             f'{type(error).__name__}: {error}.{SKIP_ADVICE}') from error
        if data is None:  # the transform rejects this image
            return
    samples: Any = data.get('data_samples') if isinstance(data, dict) else None
    for sample in samples if isinstance(samples, list) else [samples]:
        if sample is not None and 'gt_sem_seg' in sample:
            got = tuple(sample.gt_sem_seg.shape)
            expected, order = (sample.ori_shape, 'after') if test else (data['inputs'].shape[-2:], 'before')
            if got != tuple(expected):
                raise ValueError(f'{place}: got labels of {got[0]} x {got[1]} pixels of an image of {SIZE} x {SIZE}, expected '
                                 f'{expected[0]} x {expected[1]}. Put LoadAnnotations {order} the transforms that resize.')
