"""The code of docs/own_data.md, on a tiny data set."""
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmcss.datasets import MapLabels
from mmcss.engine import ContinualRunner
from tests import processes

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'own_data.md').read_text()
BLOCK = re.compile(r'^`([\w/]+\.py)`\n\n```python\n(.*?)^```', re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall(PAGE))


def write_pair(root, role, name, values):
    """An image, and a label map with a column for each value."""
    labels = np.repeat(np.tile(np.array(values, np.uint8), (32, 1)), 64 // len(values), axis=1)
    image = np.repeat(labels[..., None], 3, axis=2)
    for kind, suffix, array in (('images', 'jpg', image), ('labels', 'png', labels)):
        path = root / kind / role / f'{name}.{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the page's files, the configs that they inherit from, and the data that they name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / 'configs' / '_base_', tmp_path / 'configs' / '_base_')
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, values in (('a', (3, 2)), ('b', (0, 3)), ('c', (4, 255)), ('monday/d', (1, 4))):
        write_pair(tmp_path / 'data' / 'harbour', 'train', name, values)
    write_pair(tmp_path / 'data' / 'harbour', 'val', 'e', (1, 2, 3, 4))
    write_pair(tmp_path / 'data' / 'river', 'train', 'f', (0, 4))
    return tmp_path


# As the page's model, with an eighth of its channels.
THIN = dict(backbone=dict(base_channels=8, stem_channels=8), decode_head=dict(in_channels=64, channels=16))


def runner_of(name, **options):
    cfg = Config.fromfile(f'configs/own/{name}.py')
    small = {f'{role}_dataloader.num_workers': 0 for role in ('train', 'test')}
    cfg.merge_from_dict({**small, 'model': THIN, 'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 1,
                         'log_level': 'WARNING', 'work_dir': f'work_dirs/own/{name}', **options})
    return ContinualRunner.from_cfg(cfg)


def told(plans):
    return [(plan.split.new, plan.num_train, plan.num_test) for plan in plans]


def test_the_files_of_the_page():
    configs = [f'configs/own/{name}.py' for name in ('harbour', 'two_folders')]
    assert list(FILES) == [*configs, 'convert.py']
    assert len(FILES['configs/own/harbour.py'].splitlines()) <= 10


def test_the_plan(folder):
    runner = runner_of('harbour')
    assert told(runner.plan()) == [(('background', 'ship', 'crane'), 2, 1), (('truck', ), 2, 1), (('quay', ), 1, 1)]
    option, = re.findall(r'`(class_order=\[.*?\], base=2, increment=1)`', PAGE)
    same = dict(_delete_=True, type='ClassIncremental', **eval(f'dict({option})'))
    assert runner_of('harbour', scenario=same).scenario == runner.scenario


def test_several_folders(folder):
    assert told(runner_of('two_folders').plan()) == [
        (('background', 'ship', 'crane'), 2, 1), (('truck', ), 3, 1), (('quay', ), 1, 1)]


@pytest.mark.parametrize('classes, reduce_zero_label, seen', [
    # Step 0 learns the ship and the crane; the files hold 0 to 3.
    (['background', 'quay', 'crane', 'ship', 'truck'], False, [0, 0, 2, 1]),
    (['quay', 'crane', 'ship', 'truck'], False, [0, 2, 1, 0]),
    (['quay', 'crane', 'ship', 'truck'], True, [0, 0, 2, 1]),
])
def test_label_maps_with_and_without_background(folder, classes, reduce_zero_label, seen):
    for name in ('c', 'monday/d'):
        write_pair(folder / 'data' / 'harbour', 'train', name, (0, 1, 2, 3))
    data = {f'{role}_dataloader.dataset.{key}': value for role in ('train', 'test')
            for key, value in (('metainfo', dict(classes=classes)), ('reduce_zero_label', reduce_zero_label))}
    dataset = DATASETS.build(runner_of('harbour', **data).configs[0].train_dataloader.dataset)
    mapping = next(one for one in dataset.pipelines[0].transforms if isinstance(one, MapLabels))
    assert mapping.table[[0, 1, 2, 3, 255]].tolist() == [*seen, 255]


def break_files(kind):
    """Damage the label map a.png, or what belongs to it; what the error shall tell."""
    labels, image = Path('data/harbour/labels/train/a.png'), Path('data/harbour/images/train/a.jpg')
    numbers = np.asarray(Image.open(labels))
    if kind == 'value':
        Image.fromarray(np.where(numbers == 2, 77, numbers).astype(np.uint8)).save(labels)
        return r'a\.png.*77'
    if kind == 'colours':
        Image.fromarray(np.stack(3 * [numbers], axis=2)).save(labels)
        return r'a\.png.*single-channel'
    if kind == '16 bits':
        Image.fromarray(numbers.astype(np.uint16)).save(labels)
        return r'a\.png.*bits'
    if kind == 'unreadable':
        labels.write_bytes(labels.read_bytes()[:40])
        return r'a\.png can not be read'
    if kind == 'no label map':
        labels.unlink()
        return r'a\.png.*a\.jpg'
    if kind == 'no images':
        shutil.rmtree(image.parent)
        image.parent.mkdir()
        return r"data_root='data/harbour'.* has no images, or can't be opened"
    write_pair(Path('data/harbour'), 'train', 'a', (3, 3))
    return r'step 0 .* none with \[.crane.\]'


@pytest.mark.parametrize('kind', ['value', 'colours', '16 bits', 'unreadable', 'no label map', 'no images', 'no class'])
def test_bad_data_stops_the_plan(folder, kind):
    expected = break_files(kind)
    with pytest.raises(ValueError, match=expected):
        runner_of('harbour').plan()


def test_a_label_map_without_image_is_not_used(folder):
    Path('data/harbour/images/train/b.jpg').unlink()
    assert told(runner_of('harbour').plan())[0][1] == 1


def test_an_image_that_can_not_be_read_stops_its_step(folder):
    Path('data/harbour/images/train/a.jpg').write_bytes(b'no image')
    dataset = DATASETS.build(runner_of('harbour').configs[0].train_dataloader.dataset)
    with pytest.raises(ValueError, match=r'a\.jpg can not be loaded'):
        [dataset[i] for i in range(len(dataset))]


def convert():
    return processes.call(Path('convert.py').resolve())


def test_conversion(folder):
    shutil.move('data/harbour/labels', 'before')
    colours = np.zeros((256, 3), np.uint8)
    colours[[1, 2, 3, 4, 255]] = [(128, 64, 0), (255, 200, 0), (0, 0, 255), (90, 90, 90), (255, 255, 255)]
    files = sorted(path.relative_to('before') for path in Path('before').rglob('*.png'))
    for name in files:
        path = Path('data/harbour/colours') / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours[np.asarray(Image.open(Path('before') / name))]).save(path)
    done = convert()
    assert done.returncode == 0, done.stderr
    assert len(files) == 5 and sorted(path.relative_to('data/harbour/labels')
                                      for path in Path('data/harbour/labels').rglob('*.png')) == files
    for name in files:
        with Image.open(Path('data/harbour/labels') / name) as found:
            assert found.mode == 'L'
            np.testing.assert_array_equal(found, np.asarray(Image.open(Path('before') / name)))


def test_conversion_stops_at_an_unknown_colour(folder):
    Path('data/harbour/colours').mkdir()
    Image.new('RGB', (4, 4), (1, 2, 3)).save('data/harbour/colours/x.png')
    done = convert()
    assert done.returncode == 1 and re.search(r'x\.png: the colour .*1.*2.*3.* is not in NUMBERS', done.stderr)
