import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmcss.datasets import check_saliency
from mmcss.datasets.sources import leaves_of
from tests import processes
from tests.tiny import loader, make_data, tiny_config

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'prepare_saliency.py'
sys.path.insert(0, str(TOOL.parent))
spec = importlib.util.spec_from_file_location('prepare_saliency', TOOL)
prepare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare)


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data', train=4)


def leaves(data):
    dataset = DATASETS.build(loader(data, 'train')['dataset'])
    dataset.full_init()
    return leaves_of(dataset)


def maps_of(data):
    return {path.stem: np.array(Image.open(path)) for path in sorted((data / 'maps').iterdir())}


def test_all_pixels_of_all_classes(data):
    number, share = prepare.make_maps(leaves(data), 'maps', prepare.by_labels(), overwrite=False)
    found = maps_of(data)
    labels = {name: np.array(Image.open(data / 'labels' / 'train' / f'{name}.png')) for name in found}
    assert number == 4 and list(found) == ['000', '001', '002', '003']
    for name, values in labels.items():
        assert np.array_equal(found[name], np.where((values > 0) & (values < 255), 255, 0))
    assert share == pytest.approx(np.mean([values.mean() / 255 for values in found.values()]))
    check_saliency([(str(data / 'images' / 'train' / f'{name}.png'), str(data / 'maps' / f'{name}.png')) for name in found])


def test_maps_of_a_detector_become_black_and_white(data, tmp_path):
    """A soft map would make nearly every pixel salient: any value above 0 counts later."""
    (tmp_path / 'soft').mkdir()
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    for i in range(4):
        Image.fromarray(ramp).save(tmp_path / 'soft' / f'{i:03d}.png')
    prepare.make_maps(leaves(data), 'maps', prepare.from_folder(str(tmp_path / 'soft'), .5), overwrite=False)
    assert all(np.array_equal(found, np.where(ramp >= 127.5, 255, 0)) for found in maps_of(data).values())


def test_a_map_that_is_missing_or_of_another_size(data, tmp_path):
    detect = prepare.from_folder(str(tmp_path / 'soft'), .5)
    with pytest.raises(FileNotFoundError, match='000.png is missing: the map of .*images/train/000.png'):
        prepare.make_maps(leaves(data), 'maps', detect, overwrite=False)
    (tmp_path / 'soft').mkdir()
    Image.new('L', (16, 32)).save(tmp_path / 'soft' / '000.png')
    with pytest.raises(ValueError, match='000.png has 16 x 32 pixels, its image 32 x 32'):
        prepare.make_maps(leaves(data), 'maps', detect, overwrite=False)


def test_maps_that_are_there_are_kept(data):
    prepare.make_maps(leaves(data), 'maps', prepare.by_labels(), overwrite=False)
    Image.new('L', (32, 32)).save(data / 'maps' / '002.png')
    assert prepare.make_maps(leaves(data), 'maps', prepare.by_labels(), overwrite=False) == (0, 0.)
    assert not maps_of(data)['002'].any()
    assert prepare.make_maps(leaves(data), 'maps', prepare.by_labels(), overwrite=True)[0] == 4
    assert maps_of(data)['002'].any()


@pytest.mark.skipif(hasattr(cv2, 'saliency'), reason='this OpenCV has its contributed modules')
def test_an_opencv_without_saliency_is_told():
    with pytest.raises(SystemExit, match=r'cv2.saliency is missing.*pip install "mmcss\[saliency\]"'):
        prepare.by_opencv('fine_grained', None)


@pytest.mark.skipif(not hasattr(cv2, 'saliency'), reason='cv2.saliency is not installed (the extra mmcss[saliency])')
@pytest.mark.parametrize('method', ['fine_grained', 'spectral_residual'])
def test_opencv_s_methods(data, method):
    number, share = prepare.make_maps(leaves(data), 'maps', prepare.by_opencv(method, None), overwrite=False)
    assert number == 4 and 0 < share < 1
    assert all(set(np.unique(found)) <= {0, 255} for found in maps_of(data).values())


def test_the_command(data, tmp_path):
    cfg = tiny_config(data, tmp_path, continual=dict(unknown=dict(of='saliency', folder='maps')))
    cfg.dump(tmp_path / 'config.py')
    done = processes.call(TOOL, tmp_path / 'config.py', '--ground-truth')
    assert done.returncode == 0, done.stderr
    assert '4 saliency maps in ' in done.stdout and len(maps_of(data)) == 4
