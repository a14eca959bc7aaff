"""Pictures of predictions across steps, from arrays and from the folders of runs."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from PIL import Image

import mmcss  # noqa: F401
from mmcss.visualization import colourise, draw_predictions, predict_steps, trained_steps
from mmcss.visualization.predictions import prediction_figure

TOOL = Path(__file__).parents[2] / 'tools' / 'show.py'
sys.path.insert(0, str(TOOL.parent))
CLASSES = ['background', 'cat', 'dog', 'cow']
PALETTE = [[0, 0, 0], [200, 30, 30], [30, 180, 40], [40, 60, 220]]
SIZES = [(24, 32), (32, 32)]


def load_show():
    spec = importlib.util.spec_from_file_location('show', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def maps(value: int) -> list[np.ndarray]:
    """A label map of one class for each image."""
    return [np.full(size, value, np.uint8) for size in SIZES]


@pytest.fixture
def images() -> list[np.ndarray]:
    return [np.full((*size, 3), 99, np.uint8) for size in SIZES]


def write_step(work_dir: Path, step: int, classes: list[str], winner: str) -> None:
    """Leave a step whose model gives every pixel to one class."""
    folder = work_dir / f'step_{step}'
    folder.mkdir(parents=True)
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, size=(32, 32)),
        backbone=dict(type='ResNet', depth=18, base_channels=8),
        decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, concat_input=False,
                         num_classes=len(classes)),
        train_cfg=dict(), test_cfg=dict(mode='whole'))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True),
                dict(type='PackSegInputs')]
    Config(dict(default_scope='mmseg', model=model, test_pipeline=pipeline)).dump(str(folder / 'deploy.py'))
    built = init_model(folder / 'deploy.py', device='cpu')
    torch.nn.init.zeros_(built.decode_head.conv_seg.weight)
    with torch.no_grad():
        built.decode_head.conv_seg.bias.copy_(torch.eye(len(classes))[classes.index(winner)])
    palette = [PALETTE[CLASSES.index(name)] for name in classes]
    meta = dict(classes=classes, dataset_meta=dict(classes=classes, palette=palette))
    torch.save(dict(state_dict=built.state_dict(), meta=meta), folder / f'step_{step}.pth')


@pytest.fixture
def image_files(images, tmp_path) -> list[Path]:
    files = [tmp_path / f'{index}.png' for index in range(len(images))]
    for file, image in zip(files, images):
        Image.fromarray(image).save(file)
    return files


def test_colourise():
    label = np.array([[0, 1, 2], [3, 255, 1]])
    expected = [[PALETTE[0], PALETTE[1], PALETTE[2]], [PALETTE[3], [255, 255, 255], PALETTE[1]]]
    for dtype in (np.uint8, np.int64):
        coloured = colourise(label.astype(dtype), PALETTE)
        assert coloured.dtype == np.uint8
        np.testing.assert_array_equal(coloured, expected)


def test_colourise_names_labels_without_colour():
    with pytest.raises(ValueError, match=r'labels \[4, 9\] have no colour: the palette has 4, for 0 to 3'):
        colourise(np.array([[0, 4], [9, 255]]), PALETTE)


def test_draw_predictions(images, tmp_path):
    predictions = {'PLOP': [maps(1), maps(2), maps(3)], 'finetune': [maps(1), maps(0)]}
    truths = maps(255)
    out = draw_predictions(images, truths, predictions, CLASSES, PALETTE, tmp_path / 'new' / 'sheet.png')
    picture = np.asarray(Image.open(out).convert('RGB'))
    # Five columns of 160 pixels; per image two rows that keep the image's shape below a title, and the legend.
    assert picture.shape[1] == 800
    cells = sum(2 * (154 * height / width + 25) for height, width in SIZES)
    assert cells < picture.shape[0] < cells + 60
    # Each cell has one colour up to its frame.
    colours = [[99] * 3, [255] * 3, PALETTE[1], PALETTE[2], PALETTE[3], [99] * 3, [255] * 3, PALETTE[1], PALETTE[0]]
    figure = prediction_figure(images, truths, predictions, CLASSES, PALETTE)
    height, width = picture.shape[:2]
    for axes, colour in zip(figure.axes, 2 * colours, strict=True):
        box = axes.get_position()
        top, bottom = (round((1 - y) * height) for y in (box.y1, box.y0))
        left, right = (round(x * width) for x in (box.x0, box.x1))
        cell = picture[top + 2:bottom - 2, left + 2:right - 2]
        assert cell.shape[1] == pytest.approx(150, abs=1)
        assert np.all(cell == colour)


def test_titles_and_legend(images):
    predictions = {'PLOP': [maps(1), [], maps(2)], 'finetune': [maps(1)]}
    figure = prediction_figure(images, maps(255), predictions, CLASSES, PALETTE)
    row = ['image', 'ground truth']
    assert [axes.get_title() for axes in figure.axes] == 2 * [
        *row, 'PLOP step 0', 'PLOP step 2', *row, 'finetune step 0']
    # A missing step leaves its column empty.
    left = {axes.get_title(): axes.get_position().x0 for axes in figure.axes}
    assert left['PLOP step 2'] - left['PLOP step 0'] == pytest.approx(2 * (left['ground truth'] - left['image']))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['cat', 'dog', 'ignored']
    # Wide and square pictures keep their shapes.
    width, height = figure.get_size_inches()
    boxes = [axes.get_position() for axes in figure.axes]
    ratios = [box.height * height / (box.width * width) for box in boxes]
    np.testing.assert_allclose(ratios, [24 / 32] * 7 + [1] * 7)
    assert min(box.y0 for box in boxes) > 0 and max(box.y1 for box in boxes) < 1


def test_sizes_that_differ(images):
    with pytest.raises(ValueError, match=r'predictions of PLOP step 1: got label maps of sizes \[\(24, 32\)\]'):
        prediction_figure(images, maps(0), {'PLOP': [maps(0), maps(0)[:1]]}, CLASSES, PALETTE)
    with pytest.raises(ValueError, match='truths: got'):
        prediction_figure(images, maps(0)[::-1], {'PLOP': [maps(0)]}, CLASSES, PALETTE)
    with pytest.raises(ValueError, match='got 2 images and predictions of 0 methods'):
        prediction_figure(images, maps(0), {}, CLASSES, PALETTE)


def test_trained_steps(tmp_path):
    """By number, without half-done ones and files that are no step."""
    for name in ('step_10', 'step_2', 'step_3', 'step_x', 'step_2_old'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'deploy.py').touch()
        if name != 'step_3':
            (tmp_path / name / f'{name}.pth').touch()
    assert list(trained_steps(tmp_path).items()) == [(2, tmp_path / 'step_2'), (10, tmp_path / 'step_10')]
    with pytest.raises(FileNotFoundError, match='holds no step_k with deploy.py'):
        trained_steps(tmp_path / 'step_2')


def test_predict_steps(image_files, tmp_path):
    write_step(tmp_path / 'run', 0, CLASSES[:2], 'cat')
    write_step(tmp_path / 'run', 2, CLASSES, 'cow')
    steps = predict_steps(tmp_path / 'run', image_files)
    assert [len(step) for step in steps] == [2, 0, 2]
    for step, value in ((0, 1), (2, 3)):
        for label, expected in zip(steps[step], maps(value)):
            assert label.dtype == np.uint8
            np.testing.assert_array_equal(label, expected)


def test_show(images, image_files, tmp_path, monkeypatch, capsys):
    """Runs of other class orders and raw labels meet by name."""
    write_step(tmp_path / 'plop', 0, CLASSES[:2], 'cat')
    write_step(tmp_path / 'plop', 1, CLASSES, 'cow')
    write_step(tmp_path / 'other', 0, ['background', 'cow'], 'cow')
    (tmp_path / 'classes.json').write_text(json.dumps(['horse', 'cow', 'cat', 'dog']))
    labels = [tmp_path / f'label_{index}.png' for index in range(2)]
    for file, size in zip(labels, SIZES):
        raw = np.zeros(size, np.uint8)
        raw[0, :6] = [0, 1, 2, 3, 4, 255]
        Image.fromarray(raw).save(file)
    show = load_show()
    drawn = {}
    monkeypatch.setattr(show, 'draw_predictions', lambda *given: drawn.update(given=given) or draw_predictions(*given))
    out = tmp_path / 'sheet.png'
    show.main([str(out), '--images', *map(str, image_files), '--labels', *map(str, labels), '--classes-json',
               str(tmp_path / 'classes.json'), '--runs', f'PLOP={tmp_path}/plop', f'other={tmp_path}/other'])
    assert out.is_file() and capsys.readouterr().out.endswith(f'{out}\n')
    shown, truths, predictions, classes, palette, _ = drawn['given']
    np.testing.assert_array_equal(shown[0], images[0])
    assert classes == CLASSES and palette == PALETTE
    # Horse is in no checkpoint.
    assert truths[0][0, :7].tolist() == [0, 255, 3, 1, 2, 255, 0]
    values = {name: [{int(value) for label in step for value in np.unique(label)} for step in steps] for name, steps in predictions.items()}
    assert values == {'PLOP': [{1}, {3}], 'other': [{3}]}


def test_show_of_data_without_background(image_files, tmp_path, monkeypatch):
    """Label value 0 is the first class."""
    write_step(tmp_path / 'run', 0, CLASSES[1:], 'cow')
    Image.fromarray(np.array([[0, 1, 2, 255]], np.uint8)).save(tmp_path / 'label.png')
    show, drawn = load_show(), []
    monkeypatch.setattr(show, 'draw_predictions', lambda images, truths, *others: drawn.extend(truths))
    show.show(tmp_path / 'out.png', image_files[:1], [tmp_path / 'label.png'], dict(run=tmp_path / 'run'), CLASSES[:0:-1])
    assert drawn[0].tolist() == [[2, 1, 0, 255]]


def test_show_refuses_classes_that_do_not_fit(tmp_path):
    show = load_show()
    write_step(tmp_path / 'a', 0, CLASSES[:3], 'cat')
    write_step(tmp_path / 'b', 0, ['background', 'cow'], 'cow')
    with pytest.raises(ValueError, match=r"run 'b' knows the classes \['cow'\], run 'a' does not"):
        show.show(tmp_path / 'out.png', [], [], dict(a=tmp_path / 'a', b=tmp_path / 'b'), ['cat', 'dog', 'cow'])
    with pytest.raises(ValueError, match=r"the runs know the classes \['dog'\], which --classes-json does not name"):
        show.show(tmp_path / 'out.png', [], [], dict(a=tmp_path / 'a'), ['cat', 'cow'])


@pytest.mark.parametrize('arguments, message', [
    (['--runs', 'plop'], "got 'plop', expected NAME=WORK_DIR"),
    (['--runs', 'plop=a', '--images', '1.jpg', '2.jpg'], 'got 2 images and 1 labels'),
])
def test_show_refuses_arguments(arguments, message, capsys):
    required = ['out.png', '--images', '1.jpg', '--labels', '1.png', '--classes-json', 'classes.json']
    with pytest.raises(SystemExit):
        load_show().main([*required, *arguments])
    assert message in capsys.readouterr().err
