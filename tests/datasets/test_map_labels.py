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


def test_an_image_may_bring_a_table_of_its_own():
    """As a remembered one does; the next image is mapped as ever."""
    transform = MapLabels([1] * 256)
    own = np.arange(255, -1, -1, dtype=np.uint8)
    labels = np.array([[0, 3, 255]], dtype=np.uint8)
    mapped = transform(dict(gt_seg_map=labels, label_table=own))
    assert mapped['gt_seg_map'].tolist() == [[255, 252, 0]]
    assert mapped['gt_seg_map'].dtype == np.uint8
    assert transform(dict(gt_seg_map=labels))['gt_seg_map'].tolist() == [[1, 1, 1]]
    assert labels.tolist() == [[0, 3, 255]]
