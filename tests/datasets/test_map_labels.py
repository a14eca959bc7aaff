import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmcss.datasets import MapLabels


def test_every_value_is_looked_up():
    table = np.random.default_rng(0).integers(0, 256, 256)
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    results = dict(gt_seg_map=labels, img='kept')
    mapped = MapLabels(table.tolist())(results)
    assert mapped['gt_seg_map'].dtype == np.uint8
    assert mapped['gt_seg_map'].tolist() == [[table[value] for value in row] for row in labels]
    assert mapped['img'] == 'kept'
    assert labels.tolist() == np.arange(256).reshape(16, 16).tolist()


def test_is_registered():
    assert isinstance(TRANSFORMS.build(dict(type='MapLabels', table=[0] * 256)), MapLabels)


@pytest.mark.parametrize('shape', [(255, ), (257, ), (2, 256), ()])
def test_table_of_another_shape(shape):
    with pytest.raises(ValueError, match=r'MapLabels.table: got shape \(.*\), expected 256 values'):
        MapLabels(np.zeros(shape))


def test_printed_form_makes_an_equal_one():
    table = list(range(255, -1, -1))
    assert np.array_equal(eval(repr(MapLabels(table))).table, MapLabels(table).table)
