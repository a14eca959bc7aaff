"""Tiny data sets whose label maps hold exactly the values that a test wants."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmcss.scenario import ClassIncremental

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
CLASSES = ('background', 'a', 'b', 'c', 'd')
# Files hold background 0, a 1, b 2, c 3, d 4.
LABELS: Dict[str, Sequence[int]] = {
    'i0': (0, 1), 'i1': (0, 4), 'i2': (4, 1, 255), 'i3': (4, 3), 'i4': (3, 0), 'i5': (0, 255), 'i6': (2, 0)
}


@TRANSFORMS.register_module()
class GiveUp(BaseTransform):
    """Returns None for images of these names, as a crop without foreground may, or only so many times."""

    def __init__(self, names: Sequence[str], times: int = 10**9) -> None:
        self.names = names
        self.times = times

    def transform(self, results: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        if self.times == 0 or not any(name in results['img_path'] for name in self.names):
            return results
        self.times -= 1
        return None


def write_pair(image: Path, labels: Path, values: Sequence[int]) -> None:
    """An image, and a label map of two rows that holds each value twice in a row."""
    label_map = np.tile(np.repeat(np.asarray(values, dtype=np.uint8), 2), (2, 1))
    for path, array in ((image, np.zeros((*label_map.shape, 3), dtype=np.uint8)), (labels, label_map)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def write_folder(root: Path, labels: Mapping[str, Sequence[int]], image_suffix: str = '.jpg',
                 label_suffix: str = '.png', images: str = 'images', maps: str = 'labels') -> None:
    """Images and label maps by stem, in two folders."""
    for stem, values in labels.items():
        write_pair(root / images / f'{stem}{image_suffix}', root / maps / f'{stem}{label_suffix}', values)


def folder_config(root: Path, labels: Mapping[str, Sequence[int]] = LABELS, classes: Sequence[str] = CLASSES,
                  **options: Any) -> Dict[str, Any]:
    """Write a folder and return the config of a stock data set on it."""
    write_folder(root, labels)
    config = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=tuple(classes), palette=[[i, 2 * i, 3 * i] for i in range(len(classes))]),
        serialize_data=False,  # else each data set costs a full garbage collection
        pipeline=PIPELINE)
    return dict(config, **options)


def split_of(steps: Iterable[Sequence[str]], step: int, **options: Any) -> Dict[str, Any]:
    """The classes of one step of a scenario, as configs have them."""
    listed = [tuple(names) for names in steps]
    names = sorted(name for step_names in listed for name in step_names)
    return ClassIncremental.from_config(names, steps=listed, **options)[step].to_dict()


def stems(dataset: Any) -> List[str]:
    """Names of the images of a data set, without suffix, in its order."""
    return [Path(dataset.get_data_info(i)['img_path']).stem for i in range(len(dataset))]


def mapped(data: Mapping[str, Any]) -> List[int]:
    """The values of a loaded label map, one for each value written by :func:`write_pair`."""
    labels = data['data_samples'].gt_sem_seg.data
    assert labels.shape[0] == 1 and (labels[0, 0] == labels[0, 1]).all()
    assert (labels[0, 0, ::2] == labels[0, 0, 1::2]).all()
    return labels[0, 0, ::2].tolist()
