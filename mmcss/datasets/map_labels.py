"""The transform that turns a data set's label values into a step's."""
from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MapLabels(BaseTransform):
    """Map every label by one table look-up.

    Placed right after the loader of the labels, before any transform uses
    them. Images with a ``label_table`` (remembered ones) are mapped by that.

    Args:
        table: 256 values: the new label for each label value.
    """

    def __init__(self, table: Union[Sequence[int], np.ndarray]) -> None:
        self.table = np.asarray(table, dtype=np.uint8)
        if self.table.shape != (256, ):
            raise ValueError(f'MapLabels.table: got shape {self.table.shape}, expected 256 values.')

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        labels = results['gt_seg_map']
        # The size on disk: test pipelines resize the image before they load the labels.
        size = tuple(results.get('ori_shape', labels.shape)[:2])
        if labels.shape != size:
            raise ValueError(f"{results['img_path']} {size_mismatch(results, labels.shape, size)}")
        results['gt_seg_map'] = results.get('label_table', self.table)[labels]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(table={self.table.tolist()})'


class LoadLabels(BaseTransform):
    """Loads label maps by a custom loader, and those of copies, which are plain PNGs, by the stock one."""

    def __init__(self, loader: LoadAnnotations) -> None:
        self.loader = loader
        self.stock = LoadAnnotations(imdecode_backend='pillow')

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Load the labels of one image."""
        return (self.stock if results.get('is_copy') else self.loader)(results)


def size_mismatch(info: Dict[str, Any], labels: Tuple[int, ...], image: Tuple[int, ...]) -> str:
    """What is wrong with an image whose label map has another size; sizes are height and width."""
    text = f"has {image[1]} x {image[0]} pixels, but its label map {info['seg_map_path']} has {labels[1]} x {labels[0]}"
    if labels == image[::-1]:
        text += ('; the loader rotates photographs by their orientation (EXIF): rotate the label map too, or load images with '
                 "color_type='color_ignore_orientation'")
    return text
