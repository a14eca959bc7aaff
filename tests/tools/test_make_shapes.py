"""The set of shapes: the same every time, balanced, and laid out as promised."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'make_shapes.py'
spec = importlib.util.spec_from_file_location('make_shapes', TOOL)
make_shapes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_shapes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('data') / 'shapes'
    assert make_shapes.make_shapes(out, train=40, val=24, size=64)
    return out


def test_layout_and_sizes(shapes):
    names = json.loads((shapes / 'classes.json').read_text())
    assert len(names) == len(set(names)) == 8 and 'background' not in names
    for split, count in (('train', 40), ('val', 24)):
        images = sorted((shapes / 'images' / split).iterdir())
        labels = sorted((shapes / 'labels' / split).iterdir())
        assert [path.stem for path in images] == [path.stem for path in labels] == [f'{i:05d}' for i in range(count)]
        assert {path.suffix for path in images} == {'.jpg'} and {path.suffix for path in labels} == {'.png'}
        assert all(read(path).shape == (64, 64, 3) for path in images)
        assert all(read(path).shape == (64, 64) and read(path).dtype == np.uint8 for path in labels)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_class_is_in_an_eighth_of_the_images(shapes, split):
    present = [set(np.unique(read(path)).tolist()) for path in sorted((shapes / 'labels' / split).iterdir())]
    assert set().union(*present) == {0, *range(1, 9), 255}
    for label in range(1, 9):
        assert sum(label in labels for labels in present) >= len(present) / 8
    assert all(1 <= len(labels - {0, 255}) <= 4 for labels in present)


def test_border_parts_shapes_from_background(shapes):
    """No pixel of a shape touches the background; no border pixel lies further than one from a shape."""
    for path in (shapes / 'labels').rglob('*.png'):
        label = read(path)
        inside = ((label > 0) & (label < 255)).astype(np.uint8)
        around = cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0
        assert not np.any(around & (label == 0))
        # The rim of a shape that another one has covered is the exception.
        assert np.mean(around[label == 255]) > 0.9


def test_label_fits_the_picture():
    """A shape's pixels differ from what the image would be without it, the other pixels don't."""
    image = np.full((64, 64, 3), -1.0)
    label = np.zeros((64, 64), np.uint8)
    make_shapes.draw_shape(np.random.default_rng(0), image, label, 'ring', np.array([30.0, 34.0, 14.0]))
    np.testing.assert_array_equal((image >= 0).all(axis=2), label == make_shapes.NAMES.index('ring') + 1)
    assert label[34, 30] == 0


@pytest.mark.parametrize('name', make_shapes.NAMES)
def test_shapes_are_not_cut(name):
    """At any angle an outline stays within the part of the image that is drawn."""
    y, x = np.mgrid[-2:2:201j, -2:2:201j]
    inside = make_shapes.CLASSES[name].outline(x, y)
    assert np.hypot(x, y)[inside].max() <= 1.2
    assert inside.mean() * 16 > 1


def test_same_bytes_again(shapes, tmp_path):
    make_shapes.make_shapes(tmp_path / 'again', train=40, val=24, size=64)
    assert contents(tmp_path / 'again') == contents(shapes)


def test_an_image_does_not_depend_on_how_many_there_are(shapes, tmp_path):
    few = tmp_path / 'few'
    make_shapes.make_shapes(few, train=3, val=1, size=64)
    assert (few / 'images/train/00002.jpg').read_bytes() == (shapes / 'images/train/00002.jpg').read_bytes()
    assert (few / 'labels/val/00000.png').read_bytes() == (shapes / 'labels/val/00000.png').read_bytes()
    make_shapes.make_shapes(tmp_path / 'other', train=3, val=1, size=64, seed=1)
    assert (few / 'images/train/00002.jpg').read_bytes() != (tmp_path / 'other/images/train/00002.jpg').read_bytes()


def test_kept_or_replaced(tmp_path, capsys):
    out = tmp_path / 'shapes'
    arguments = ['--out', str(out), '--train', '2', '--val', '1', '--size', '32']
    make_shapes.main(arguments)
    marked = out / 'images/train/00000.jpg'
    marked.write_bytes(b'mark')
    make_shapes.main(arguments)
    assert marked.read_bytes() == b'mark'
    make_shapes.main([*arguments, '--val', '2'])
    assert marked.read_bytes() != b'mark' and (out / 'images/val/00001.jpg').is_file()
    assert [path.name for path in tmp_path.iterdir()] == ['shapes']
    printed = capsys.readouterr().out.splitlines()
    assert [line.rsplit(' images ')[1] for line in printed] == ['written', 'are there already', 'written']


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / 'images').mkdir()
    with pytest.raises(FileExistsError, match=r"other files than a set of shapes.*\['images'\].*another --out"):
        make_shapes.make_shapes(tmp_path, train=1, val=1)
    make_shapes.make_shapes(tmp_path / 'shapes', train=1, val=1)
    (tmp_path / 'shapes' / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='other files than a set of shapes'):
        make_shapes.make_shapes(tmp_path / 'shapes', train=2, val=1)
