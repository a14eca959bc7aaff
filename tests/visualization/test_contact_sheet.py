"""Contact sheets, down to their pixels."""
import numpy as np
import pytest
from PIL import Image

import mmcss  # noqa: F401
from mmcss.visualization import SheetRow, draw_contact_sheet
from mmcss.visualization.contact_sheet import contact_sheet_figure

CLASSES = ['background', 'cat', 'dog', 'cow', 'unknown']
PALETTE = [[0, 0, 0], [200, 30, 30], [30, 180, 40], [40, 60, 220], [250, 0, 240]]
WHITE = [255, 255, 255]


def row(name='a.jpg', labels=((0, 1, 2), (3, 1, 255)), step_labels=((4, 0, 2), (0, 0, 255))):
    image = np.array([[[10, 20, 30], [40, 50, 60], [70, 80, 90]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8)
    return SheetRow(name, image, np.array(labels, np.uint8), np.array(step_labels, np.uint8))


def test_pixels(tmp_path):
    rows = [row(), row('b.jpg', labels=((2, 2, 2), (2, 2, 2)), step_labels=((0, 0, 0), (2, 2, 2)))]
    out = draw_contact_sheet(rows, CLASSES, PALETTE, 'step 1', tmp_path / 'new' / 'step_1.png')
    picture = np.asarray(Image.open(out).convert('RGB'))
    figure = contact_sheet_figure(rows, CLASSES, PALETTE, 'step 1')
    figure.savefig(tmp_path / 'again.png', dpi=100)  # sets the places of the cells
    assert picture.shape[1] == 900
    expected = [part for one in rows for part in (
        one.image, [[WHITE if label == 255 else PALETTE[label] for label in line] for line in one.labels],
        [[WHITE if label == 255 else PALETTE[label] for label in line] for line in one.step_labels])]
    for axes, colours in zip(figure.axes, expected, strict=True):
        for (y, x) in np.ndindex(2, 3):
            # Close to the corners of a label map's pixel too: none is blended with its neighbours.
            for corner in (-.45, 0, .45):
                column, height = axes.transData.transform((x + corner, y + corner))
                assert picture[picture.shape[0] - 1 - int(height), int(column)].tolist() == list(colours[y][x])


def test_titles_and_legend():
    figure = contact_sheet_figure([row(), row('train/' + 50 * 'x' + '.jpg')], CLASSES, PALETTE, 'step 1\nnew: dog')
    told = ['all labels', 'what the step sees']
    assert [axes.get_title() for axes in figure.axes] == ['a.jpg', *told, '...' + 41 * 'x' + '.jpg', *told]
    assert figure.get_suptitle() == 'step 1\nnew: dog'
    entries = {text.get_text(): patch.get_facecolor()[:3]
               for text, patch in zip(figure.legends[0].get_texts(), figure.legends[0].get_patches())}
    assert list(entries) == ['background', 'cat', 'dog', 'cow', 'unknown', 'ignored']
    assert entries['dog'] == pytest.approx([30 / 255, 180 / 255, 40 / 255]) and entries['ignored'] == (1, 1, 1)


def test_the_legend_has_the_classes_that_are_drawn():
    rows = [row(labels=((0, 0, 0), (0, 0, 3)), step_labels=((0, 0, 0), (0, 0, 0)))]
    figure = contact_sheet_figure(rows, CLASSES, PALETTE, '')
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['background', 'cow']


def test_what_can_not_be_drawn():
    with pytest.raises(ValueError, match=r'a\.jpg: the image has height and width \(2, 3\), its label map \(1, 3\)'):
        row(labels=((0, 1, 2), ))
    with pytest.raises(ValueError, match=r'a\.jpg: .*, its labels as the step sees them \(2, 1\)'):
        row(step_labels=((0, ), (1, )))
    with pytest.raises(ValueError, match='got no row'):
        contact_sheet_figure([], CLASSES, PALETTE, '')
    with pytest.raises(ValueError, match=r'labels \[5\] have no colour'):
        contact_sheet_figure([row(labels=((5, 0, 0), (0, 0, 0)))], CLASSES, PALETTE, '')
