import numpy as np
import pytest

from mmcss.datasets import LabelledImages, name_classes
from mmcss.datasets.label_values import other_numbers, without_classes
from tests.makers import folder_config


def held(*images):
    """The presence table of images that hold these values."""
    table = np.zeros((len(images), 256), dtype=bool)
    for row, values in zip(table, images):
        row[list(values)] = True
    return table


TWO = name_classes(('background', 'object'), False)
THREE = name_classes(('background', 'a', 'b'), False)


@pytest.mark.parametrize('images', [[(0, 255), (0, )], [(255, ), (255, )]])
def test_masks_of_0_and_255(images):
    message = without_classes(held(*images), TWO)
    assert message == (f'the label maps hold only the values {sorted(set(sum(images, ())))}, of which 255 is ignored, '
                       "and no class. Replace it by class numbers, such as 1 for 'object'")


@pytest.mark.parametrize('images, classes, reduce_zero_label', [
    ([(0, 255), (0, 1)], ('background', 'object'), False),
    ([(0, )], ('background', 'object'), False),  # none is ignored: the step tells which class has no image
    ([(0, 255)], ('object', ), False),  # value 0 is the object, and the rest is ignored
    ([(1, 255)], ('object', ), True),
    ([], ('object', ), True)])
def test_masks_of_classes(images, classes, reduce_zero_label):
    assert without_classes(held(*images), name_classes(classes, reduce_zero_label)) is None


def test_masks_of_0_and_255_where_0_is_no_class():
    assert "such as 1 for 'a'" in without_classes(held((0, 255)), name_classes(('a', 'b'), True))


@pytest.mark.parametrize('images, values', [
    ([(0, 50), (100, 0)], [0, 50, 100]), ([(0, 128), (0, 255)], [0, 128, 255]), ([(0, 50, 100, 150)], [0, 50, 100, 150]),
    ([(0, 50, 100, 150, 200)], None), ([(0, 1), (0, 50)], None)])
def test_grey_levels_in_place_of_numbers(images, values):
    hint = other_numbers(held(*images), THREE)
    assert (f'hold the values {values}: if these mean the classes in that order' in hint) if values else hint == ''


def test_a_data_set_has_both_checks(tmp_path):
    with pytest.raises(ValueError, match=r'labels\): the label maps hold only the values \[0, 255\], of which 255 is ignored'):
        LabelledImages(folder_config(tmp_path / 'masks', {'x': (0, 255), 'y': (255, 0)}))
    with pytest.raises(ValueError, match=r'holds the label values \[50\].*All label maps together hold the values '
                                         r'\[0, 50, 100\]: if these'):
        LabelledImages(folder_config(tmp_path / 'grey', {'x': (0, 50), 'y': (100, 0)}))
    # With two folders, one may have no class.
    parts = [folder_config(tmp_path / name, {'x': values}) for name, values in (('first', (0, 255)), ('second', (1, 2)))]
    assert len(LabelledImages(dict(type='ConcatDataset', datasets=parts)).leaves) == 2
