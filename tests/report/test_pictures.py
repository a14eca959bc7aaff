import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmcss.report import pictures, read_runs
from mmcss.report.pictures import Pictures, draw_pictures
from mmcss.report.page import html
from tests.report.work_dirs import PALETTE, make_run

RED, GREEN = PALETTE[1:]


def pixels(address):
    """``[H, W, 3]`` of the picture that an address holds."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(',')[1]))).convert('RGB'))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs that learn their classes in different orders, and one test image of two pixels: a disc and a star."""
    Image.new('RGB', (2, 1), (7, 8, 9)).save(tmp_path / 'image.png')
    tested = pictures._Tested([str(tmp_path / 'image.png')], [np.array([[1, 2]], np.uint8)], ('background', 'disc', 'star'),
                              [tuple(colour) for colour in PALETTE])
    monkeypatch.setattr(pictures, '_tested', lambda run, number: tested)
    predicted = [[np.array([[1, 0]], np.uint8)], [np.array([[1, 2]], np.uint8)]]
    monkeypatch.setattr(pictures, 'predict_steps', lambda *_: predicted)
    folders = [make_run(tmp_path / 'a'), make_run(tmp_path / 'b', entering=(('background', 'star'), ('disc', )))]
    return read_runs([(None, folder) for folder in folders])


def test_predictions_have_the_colours_of_their_classes(runs):
    drawn = draw_pictures(runs, 1)
    assert [(name, [title for title, _ in row]) for name, row in drawn.rows] == [
        (name, ['image', 'truth', 'step 0', 'step 1']) for name in ('a', 'b')]
    a, b = ([pixels(address)[0].tolist() for _, address in row[1:]] for _, row in drawn.rows)
    assert a == [[RED, GREEN], [RED, [0, 0, 0]], [RED, GREEN]]
    assert b == [[RED, GREEN], [GREEN, [0, 0, 0]], [GREEN, RED]]
    assert drawn.colours == {'background': (0, 0, 0), 'disc': tuple(RED), 'star': tuple(GREEN)}


def test_wide_pictures_are_made_smaller(monkeypatch):
    monkeypatch.setattr(pictures, 'WIDEST', 10)
    assert pixels(pictures._address(np.zeros((20, 40, 3), np.uint8))).shape == (5, 10, 3)


def test_runs_of_other_classes(runs):
    other = replace(runs[1], steps=(replace(runs[1].last, classes=('background', 'cross')), ))
    with pytest.raises(ValueError, match=r"--images: b has the classes \['cross'\], a does not; report them apart"):
        draw_pictures([runs[0], other], 1)


def test_a_run_without_config(tmp_path):
    run, = read_runs([(None, make_run(tmp_path / 'a'))])
    (tmp_path / 'a' / 'step_1' / '20260101_120000' / 'vis_data' / 'config.py').unlink()
    with pytest.raises(FileNotFoundError, match=r'has no config of step 1 \(vis_data/config.py\), which names the test images'):
        draw_pictures([run], 1)


def test_the_page_shows_them(runs):
    text = html(runs, Pictures([('a', [('truth', 'data:image/png;base64,AAAA')])], {'disc': (1, 2, 3)}))
    assert '<img src="data:image/png;base64,AAAA" alt="truth">' in text and 'rgb(1, 2, 3)' in text
