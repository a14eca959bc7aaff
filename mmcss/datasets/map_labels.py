"""The transform that turns a data set's label values into a step's."""
from __future__ import annotations

from typing import Any, Dict, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
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

    def __init__(self, table: Sequence[int]) -> None:
        self.table = np.asarray(table, dtype=np.uint8)
        if self.table.shape != (256, ):
            raise ValueError(f'MapLabels.table: got shape {self.table.shape}, expected 256 values.')

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        results['gt_seg_map'] = results.get('label_table', self.table)[results['gt_seg_map']]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(table={self.table.tolist()})'
