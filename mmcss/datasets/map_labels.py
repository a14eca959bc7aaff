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

    Stands right behind the loader of the labels, before any transform reads
    them. An image that brings a table of its own (``label_table``, remembered
    images) is mapped by that.

    Args:
        table: 256 values: the new label for each label value.
    """

    def __init__(self, table: Union[Sequence[int], np.ndarray]) -> None:
        self.table = np.asarray(table, dtype=np.uint8)
        if self.table.shape != (256, ):
            raise ValueError(f'MapLabels.table: got shape {self.table.shape}, expected 256 values.')

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        labels = results['gt_seg_map']
        # Of the image as it was read: pipelines of tests resize it before they load the labels.
        height, width = results.get('ori_shape', labels.shape)[:2]
        if labels.shape != (height, width):
            raise ValueError(f"{results['img_path']} has {width} x {height} pixels, but its label map "
                             f"{results['seg_map_path']} has {labels.shape[1]} x {labels.shape[0]}"
                             f'{turned_text(labels.shape, (height, width))}')
        results['gt_seg_map'] = results.get('label_table', self.table)[labels]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(table={self.table.tolist()})'


class LoadLabels(BaseTransform):
    """Loads label maps by a loader of the user's own, and those of copies, which are plain PNGs, by the stock one.

    Args:
        loader: The user's loader.
    """

    def __init__(self, loader: LoadAnnotations) -> None:
        self.loader = loader
        self.stock = LoadAnnotations(imdecode_backend='pillow')

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Load the labels of one image."""
        return (self.stock if results.get('is_copy') else self.loader)(results)


def turned_text(labels: Tuple[int, int], image: Tuple[int, int]) -> str:
    """What to say where a label map would fit its image if that lay on its side, else nothing.

    Args:
        labels: Height and width of the label map.
        image: Of the image, as it was loaded.
    """
    if labels != image[::-1]:
        return ''
    return ('; the loader turns photographs that note an orientation (EXIF): turn the label map too, or load images with '
            "color_type='color_ignore_orientation'")
