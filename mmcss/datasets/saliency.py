"""Saliency maps: which background pixels may belong to an unknown class."""
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Tuple

import mmcv
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmengine.fileio import get
from mmseg.registry import TRANSFORMS
from PIL import Image, UnidentifiedImageError


def saliency_path(leaf: BaseDataset, folder: str, name: str) -> str:
    """The saliency map of an image of a stock data set.

    Args:
        leaf: The data set.
        folder: Folder of the maps, relative to ``data_root``.
        name: The image (:func:`image_name`).
    """
    root = os.path.join(getattr(leaf, 'data_root', None) or '', folder)
    if '://' not in root:
        # By its letters alone, so that '../maps' is beside a data_root that is a link.
        root = os.path.normpath(root)
    return os.path.join(root, os.path.splitext(name)[0] + '.png')


@TRANSFORMS.register_module()
class MarkUnknown(BaseTransform):
    """Background that is salient becomes unknown (SSUL, Cha et al., NeurIPS 2021, eq. 1).

    Placed right after :class:`MapLabels`. A separate label plane would give
    the same: geometric transforms take labels from their nearest neighbour,
    and so commute with any mapping of labels. Pixels that are padded later
    are not salient.

    Required keys: gt_seg_map, saliency_path (None to change nothing).
    Modified keys: gt_seg_map.

    Args:
        unknown: Label of the unknown class.
    """

    def __init__(self, unknown: int) -> None:
        self.unknown = unknown

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Mark the unknown pixels of an image."""
        path, labels = results['saliency_path'], results['gt_seg_map']
        if path is None:
            return results
        try:
            saliency = mmcv.imfrombytes(get(path), flag='grayscale', backend='pillow')
        except Exception as error:
            raise ValueError(f'the saliency map {path} can not be read: {error}') from error
        if saliency.shape != labels.shape:
            raise ValueError(_wrong_size(path, saliency.shape[::-1], results['img_path'], labels.shape[::-1]))
        labels[(labels == 0) & (saliency > 0)] = self.unknown
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(unknown={self.unknown})'


def check_saliency(maps: List[Tuple[str, str]]) -> None:
    """Find missing maps and maps of a wrong size before training does.

    Reads only the headers of the files; those on other machines are checked
    when they are loaded.

    Args:
        maps: Pairs of an image and its map.

    Raises:
        ValueError: Names the first such file, and how to make maps.
    """

    def problem_of(pair: Tuple[str, str]) -> str:
        image, path = pair
        try:
            with Image.open(path) as opened:
                size = opened.size
        except (OSError, ValueError) as error:
            return f'the saliency map {path} of {image} can not be read ({type(error).__name__})'
        try:
            with Image.open(image) as opened:
                # Loaders may rotate a photograph by its orientation, or not; MarkUnknown checks the size then.
                expected = (opened.size, opened.size[::-1]) if 0x0112 in opened.getexif() else (opened.size, )
        except UnidentifiedImageError:  # only a custom loader can read it
            return ''
        return '' if size in expected else _wrong_size(path, size, image, expected[0])

    with ThreadPoolExecutor(8) as pool:
        wrong = list(filter(None, pool.map(problem_of, [pair for pair in maps if '://' not in ''.join(pair)])))
    if wrong:
        raise ValueError(f'{wrong[0]}; {len(wrong)} of {len(maps)} maps are wrong. '
                         "tools/prepare_saliency.py makes them; continual.unknown=dict(of='background') needs none.")


def _wrong_size(path: str, size: Tuple[int, ...], image: str, expected: Tuple[int, ...]) -> str:
    return (f'the saliency map {path} has {size[0]} x {size[1]} pixels, but its image {image} has '
            f'{expected[0]} x {expected[1]}')
