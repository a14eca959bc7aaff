"""How MiB's and PLOP's code crops images, in training and in tests."""
from __future__ import annotations

from typing import Any, Dict, Tuple

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS

Box = Tuple[int, int, int, int]  # top, left, height, width


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Crops a random part of the image and resizes it to a fixed size.

    As torchvision's ``RandomResizedCrop``, for images with labels: the part's
    share of the area and the logarithm of its ratio of width to height are
    uniform; parts that do not fit into the image are drawn again. MiB's and
    PLOP's code asks for 50 to 200 % of the area, and so gets 50 to 100 %.

    Required keys: img, gt_seg_map (optional). Modified keys: the same,
    img_shape.

    Args:
        size: Height and width of the result in pixels.
        scale: Least and greatest share of the area.
        ratio: Least and greatest ratio of width to height.
        attempts: Draws before the largest part in the centre is taken.
    """

    def __init__(self, size: Tuple[int, int] = (512, 512), scale: Tuple[float, float] = (0.5, 2.0),
                 ratio: Tuple[float, float] = (3 / 4, 4 / 3), attempts: int = 10) -> None:
        self.size, self.scale, self.ratio = (size[0], size[1]), (scale[0], scale[1]), (ratio[0], ratio[1])
        self.attempts = attempts

    @cache_randomness
    def draw(self, height: int, width: int) -> Box:
        """A random part of an image of that size."""
        for _ in range(self.attempts):
            area = height * width * np.random.uniform(*self.scale)
            ratio = np.exp(np.random.uniform(*np.log(self.ratio)))
            h, w = round((area / ratio)**.5), round((area * ratio)**.5)
            if 0 < h <= height and 0 < w <= width:
                return np.random.randint(height - h + 1), np.random.randint(width - w + 1), h, w
        ratio = float(np.clip(width / height, *self.ratio))
        h, w = min(height, round(width / ratio)), min(width, round(height * ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Crop the image and its labels; labels are not interpolated."""
        top, left, h, w = self.draw(*results['img'].shape[:2])
        for key, interpolation in (('img', 'bilinear'), ('gt_seg_map', 'nearest')):
            if results.get(key) is not None:
                part = results[key][top:top + h, left:left + w]
                results[key] = mmcv.imresize(part, self.size[::-1], interpolation=interpolation)
        results['img_shape'] = self.size
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, scale={self.scale}, ratio={self.ratio}, attempts={self.attempts})'


@TRANSFORMS.register_module()
class ScoreAsResized(BaseTransform):
    """Has predictions scored at the size that the network sees.

    Stock models resize predictions to ``ori_shape``; in a pipeline that
    resizes and crops the labels too, that has to be the size of the image here.

    Required keys: img. Modified keys: ori_shape.
    """

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace the size that the image had on disk."""
        results['ori_shape'] = results['img'].shape[:2]
        return results
