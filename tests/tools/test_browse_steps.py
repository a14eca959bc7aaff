"""The contact sheets of the tiny data set's steps."""
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmcss.engine import ContinualRunner
from mmcss.visualization import draw_contact_sheet
from tests import processes
from tests.tiny import CLASSES, COLOURS, SSUL_M, make_data, tiny_config

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'browse_steps.py'


@pytest.fixture
def browse(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    spec = importlib.util.spec_from_file_location('browse_steps', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(*arguments):
    return processes.call(TOOL, *arguments)


def step_dataset(data, step, **changes):
    runner = ContinualRunner.from_cfg(tiny_config(data, data / 'work', **changes))
    images = dict(runner.configs[step].train_dataloader.dataset)
    return DATASETS.build(dict(images, path=None) if images['type'] == 'WithMemory' else images)


def raw_labels(data, name):
    return np.array(Image.open(data / 'labels' / 'train' / name)).astype(int)


def test_all_steps(tiny_data, tmp_path):
    tiny_config(tiny_data, tmp_path / 'work').dump(tmp_path / 'config.py')
    done = call(tmp_path / 'config.py', '--images', 3)
    assert done.returncode == 0, done.stderr
    sheets = [tmp_path / 'work' / 'browse' / f'step_{step}.png' for step in range(3)]
    assert done.stdout.split() == list(map(str, sheets))
    for sheet in sheets:
        with Image.open(sheet) as picture:
            assert picture.width == 900 and picture.height > 3 * 290
    assert sorted(path.name for path in (tmp_path / 'work').iterdir()) == ['browse']


def test_one_step_elsewhere_with_a_memory_that_is_not_there_yet(tiny_data, tmp_path):
    tiny_config(tiny_data, tmp_path / 'work', continual=SSUL_M).dump(tmp_path / 'config.py')
    done = call(tmp_path / 'config.py', '--out', tmp_path / 'out', '--step', 1, '--cfg-options',
                'scenario.class_order=blue,white,red,green')
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['step_1.png']
    assert not (tmp_path / 'work').exists()


def test_what_is_drawn(browse, tiny_data, tmp_path, monkeypatch):
    """Step 1 of blue and white, then red, then green."""
    scenario = dict(base=2, increment=1, class_order=['blue', 'white', 'red', 'green'])
    dataset = step_dataset(tiny_data, 1, scenario=scenario, continual={})
    drawn = {}
    monkeypatch.setattr(browse, 'draw_contact_sheet',
                        lambda *given: drawn.update(given=given) or draw_contact_sheet(*given))
    assert browse.draw_step(dataset, 99, tmp_path / 'sheet.png').is_file()
    rows, classes, palette, title, _ = drawn['given']
    assert classes == ['background', 'blue', 'white', 'red', 'green', 'unknown']
    assert palette[:5] == [COLOURS[CLASSES.index(name)].tolist() for name in classes[:5]]
    assert title == 'step 1: 4 training images\nnew: red'
    assert sorted(row.name for row in rows) == ['000.png', '004.png', '005.png', '008.png']
    raw_to_order, raw_to_seen = np.arange(256), np.zeros(256, int)
    raw_to_order[:5], raw_to_seen[[1, 255]] = [0, 3, 4, 1, 2], [3, 255]
    for row in rows:
        raw = raw_labels(tiny_data, row.name)
        np.testing.assert_array_equal(row.image, np.array(Image.open(tiny_data / 'images' / 'train' / row.name)))
        np.testing.assert_array_equal(row.labels, raw_to_order[raw])
        np.testing.assert_array_equal(row.step_labels, raw_to_seen[raw])


def test_unknown_has_a_colour_of_its_own(browse, tiny_data):
    """The step's label of unknown is that of a future class in the list of all."""
    dataset = step_dataset(tiny_data, 0, continual=SSUL_M)
    names = browse.class_names(dataset)
    row = browse.read_row(dataset, 0, names)
    raw = raw_labels(tiny_data, row.name)
    assert set(np.unique(raw)) == {0, 1, 3, 255} and dataset.split.unknown == 3
    np.testing.assert_array_equal(row.labels, raw)
    np.testing.assert_array_equal(row.step_labels, np.select([raw == 1, raw == 255], [1, 255], 5))
    palette = browse.colours(dataset, names)
    # As far as possible from black, white and the primaries.
    assert len(palette) == 6 and min(np.abs(np.array(palette[:5]) - palette[5]).sum(axis=1)) >= 255


def test_unknown_of_saliency_maps(browse, tmp_path):
    data = make_data(tmp_path / 'data', train=4)
    (data / 'maps').mkdir()
    salient = np.zeros((32, 32), np.uint8)
    salient[:, :10] = 255
    for number in range(4):
        Image.fromarray(salient).save(data / 'maps' / f'{number:03d}.png')
    method = dict(SSUL_M, unknown=dict(of='saliency', folder='maps'))
    dataset = step_dataset(data, 0, continual=method)
    row = browse.read_row(dataset, 0, browse.class_names(dataset))
    raw = raw_labels(data, row.name)
    np.testing.assert_array_equal(row.step_labels, np.select([raw == 1, raw == 255, salient > 0], [1, 255, 5], 0))


def test_a_class_that_no_step_learns(browse, tiny_data):
    dataset = step_dataset(tiny_data, 0, scenario=dict(steps=[['green'], ['blue']]))
    names = browse.class_names(dataset)
    assert names == ['background', 'green', 'blue', 'red', 'white']
    row = browse.read_row(dataset, 1, names)
    raw = raw_labels(tiny_data, row.name)
    assert set(np.unique(raw)) == {0, 1, 2, 255}
    np.testing.assert_array_equal(row.labels, np.select([raw == 2, raw == 1, raw == 255], [1, 3, 255]))
    np.testing.assert_array_equal(row.step_labels, np.select([raw == 2, raw == 255], [1, 255]))


def test_a_step_of_domains_shows_all_classes(browse, tiny_data, tmp_path, monkeypatch):
    scenario = dict(type='DomainIncremental', domains=['00', '01'], rule=dict(prefix=2))
    drawn = {}
    monkeypatch.setattr(browse, 'draw_contact_sheet', lambda *given: drawn.update(given=given))
    browse.draw_step(step_dataset(tiny_data, 1, scenario=scenario, continual={}), 8, tmp_path / 'sheet.png')
    rows, classes, _, title, _ = drawn['given']
    assert title == 'step 1: 2 training images\nnew: 01' and classes == [*CLASSES, 'unknown']
    assert sorted(row.name for row in rows) == ['010.png', '011.png']
    assert all(np.array_equal(row.step_labels, row.labels) for row in rows)


def test_classes_come_in_turn(browse):
    holds = np.zeros((12, 3), bool)
    holds[:10, 0] = holds[10, 1] = holds[11, 2] = True
    chosen = browse.spread(holds, 4)
    assert set(chosen[1:3]) == {10, 11} and chosen[0] < 10 and chosen[3] < 10
    assert sorted(browse.spread(holds, 99)) == list(range(12))
    assert browse.spread(holds, 4) == chosen


def test_a_wrong_number_of_images(browse, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['browse_steps.py', 'config.py', '--images', '0'])
    with pytest.raises(SystemExit):
        browse.main()
    assert '--images: got 0, expected at least 1' in capsys.readouterr().err
