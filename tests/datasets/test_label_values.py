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
    told = without_classes(held(*images), TWO)
    assert told == (f'the label maps hold the values {sorted(set(sum(images, ())))} and nothing else: 255 is ignored, and '
                    "none of them shows a class. Write class numbers in its place, such as 1 for 'object'")


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


@pytest.mark.parametrize('images, told', [
    ([(0, 50), (100, 0)], [0, 50, 100]), ([(0, 128), (0, 255)], [0, 128, 255]), ([(0, 50, 100, 150)], [0, 50, 100, 150]),
    ([(0, 50, 100, 150, 200)], None), ([(0, 1), (0, 50)], None)])
def test_grey_levels_in_place_of_numbers(images, told):
    found = other_numbers(held(*images), THREE)
    assert (f'hold the values {told}: if they stand for the classes in that order' in found) if told else found == ''


def test_a_data_set_tells_of_both(tmp_path):
    with pytest.raises(ValueError, match=r'labels\): the label maps hold the values \[0, 255\] and nothing else'):
        LabelledImages(folder_config(tmp_path / 'masks', {'x': (0, 255), 'y': (255, 0)}))
    with pytest.raises(ValueError, match=r'holds the label values \[50\].*All label maps together hold the values '
                                         r'\[0, 50, 100\]: if they'):
        LabelledImages(folder_config(tmp_path / 'grey', {'x': (0, 50), 'y': (100, 0)}))
    # Of two folders one may be without.
    parts = [folder_config(tmp_path / name, {'x': values}) for name, values in (('one', (0, 255)), ('two', (1, 2)))]
    assert len(LabelledImages(dict(type='ConcatDataset', datasets=parts)).leaves) == 2
