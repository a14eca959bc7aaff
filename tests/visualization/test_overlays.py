"""Predictions over their images."""
import numpy as np
import pytest
from PIL import Image

from mmcss.visualization import draw_overlay
from mmcss.visualization.overlays import overlaid, overlay_figure

CLASSES = ['background', 'cat', 'dog']
PALETTE = [[0, 0, 0], [200, 0, 100], [0, 250, 0]]
IMAGE = np.full((2, 2, 3), 100, np.uint8)


def legend(labels, classes=CLASSES):
    figure = overlay_figure(IMAGE, labels, classes, PALETTE, 'a.jpg')
    return [text.get_text() for text in figure.legends[0].texts]


def test_the_background_stays_as_it_is():
    labels = np.array([[0, 1], [2, 0]])
    mixed = overlaid(IMAGE, labels, labels > 0, PALETTE)
    assert mixed.dtype == np.uint8
    assert mixed.tolist() == [[[100] * 3, [160, 40, 100]], [[40, 190, 40], [100] * 3]]


def test_the_legend_has_the_classes_that_are_present():
    assert legend(np.array([[0, 2], [2, 0]])) == ['background (as it is)', 'dog']
    assert legend(np.array([[1, 2], [2, 1]])) == ['cat', 'dog']
    assert legend(np.zeros((2, 2), int)) == ['background (as it is)']
    assert legend(np.array([[0, 2], [2, 0]]), ['road', 'cat', 'dog']) == ['road', 'dog']  # no class is the background


@pytest.mark.parametrize('width, drawn', [(2, 600), (400, 800), (2999, 2000)])
def test_the_picture(tmp_path, width, drawn):
    """Image and overlay, neither too small for the legend nor larger than ten inches."""
    image = np.full((30, width, 3), 100, np.uint8)
    out = draw_overlay(image, np.zeros(image.shape[:2], int), CLASSES, PALETTE, 'a.jpg', tmp_path / 'new' / 'a.png')
    with Image.open(out) as picture:
        assert picture.width == drawn


def test_a_label_map_of_another_size():
    with pytest.raises(ValueError, match=r'a\.jpg: the image has height and width \(2, 2\), its label map \(2, 3\)'):
        overlay_figure(IMAGE, np.zeros((2, 3), int), CLASSES, PALETTE, 'a.jpg')
