"""Broken trees: each is an error that names the file or folder, before training where labels tell, else at loading."""
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mmcss.datasets import StepDataset
from mmcss.engine import ContinualRunner
from tests.tiny import make_data, tiny_config

LABEL, IMAGE = 'labels/train/003.png', 'images/train/003.png'
NO_IMAGE = 'can not be read: it is no image'
MISSING = 'can not be read: there is no such file'


def cut_short(path):
    path.write_bytes(path.read_bytes()[:len(path.read_bytes()) // 2])


def emptied(path):
    shutil.rmtree(path)
    path.mkdir()


def repaint(path, value, by):
    labels = np.array(Image.open(path))
    labels[labels == value] = by
    Image.fromarray(labels).save(path)


def listed(root, cfg, *names):
    """Have the training data read a list of its images."""
    (root / 'list.txt').write_text('\n'.join(names))
    cfg.train_dataloader.dataset.ann_file = 'list.txt'


def absent_list(root, cfg):
    cfg.train_dataloader.dataset.ann_file = 'absent.txt'


def without_class(root, cfg):
    for path in (root / 'labels' / 'train').iterdir():
        repaint(path, 4, 0)


# What is done to a tree or its config, and what the error says; seen in the plan.
PLANNED = {
    'a label map is missing': (
        lambda root, cfg: (root / LABEL).unlink(), f'{LABEL} {MISSING} for the image {{root}}/{IMAGE}'),
    'a label map of a test image is missing': (
        lambda root, cfg: (root / 'labels/val/002.png').unlink(), f'labels/val/002.png {MISSING}'),
    'a label map is cut short': (lambda root, cfg: cut_short(root / LABEL), f'{LABEL} can not be read: OSError'),
    'a label map is empty': (lambda root, cfg: (root / LABEL).write_bytes(b''), f'{LABEL} {NO_IMAGE}'),
    'a label map is text': (lambda root, cfg: (root / LABEL).write_text('0 1'), f'{LABEL} {NO_IMAGE}'),
    'a label map is a folder': (
        lambda root, cfg: (root / LABEL).unlink() or (root / LABEL).mkdir(),
        f'{LABEL} can not be read: IsADirectoryError'),
    'a label map is in colour': (
        lambda root, cfg: Image.new('RGB', (32, 32)).save(root / LABEL), f'{LABEL} has shape (32, 32, 3)'),
    'a label map has 16 bits': (
        lambda root, cfg: Image.new('I;16', (32, 32), 258).save(root / LABEL), f'{LABEL} has 16 bits a pixel'),
    'a label value is of no class': (
        lambda root, cfg: repaint(root / LABEL, 4, 77), f'{LABEL} holds the label values [77]'),
    'the folder of label maps is absent': (
        lambda root, cfg: shutil.rmtree(root / 'labels/train'), f'labels/train/000.png {MISSING}'),
    'the folder of images is absent': (lambda root, cfg: shutil.rmtree(root / 'images/train'), 'images/train'),
    'the folder of test images is absent': (lambda root, cfg: shutil.rmtree(root / 'images/val'), 'images/val'),
    'the folder of images is empty': (lambda root, cfg: emptied(root / 'images/train'), 'images/train'),
    'the folder of test images is empty': (lambda root, cfg: emptied(root / 'images/val'), 'images/val'),
    'the list of images is absent': (absent_list, 'absent.txt'),
    'the list of images is empty': (lambda root, cfg: listed(root, cfg), 'list.txt'),
    'the list names an image that is not there': (
        lambda root, cfg: listed(root, cfg, '000', '999'), f'labels/train/999.png {MISSING}'),
    'no image holds a class': (without_class, "step 2 has 0 training images, but none with ['white']"),
}
# Likewise; label maps are sound, so that it is seen when the image is loaded.
LOADED = {
    'an image is no image': (lambda root, cfg: (root / IMAGE).write_text('red'), IMAGE),
    'an image is empty': (lambda root, cfg: (root / IMAGE).write_bytes(b''), IMAGE),
    'an image of the list is not there': (
        lambda root, cfg: listed(root, cfg, '000', '001', '002', '003') or (root / IMAGE).unlink(), IMAGE),
    'an image has another size than its label map': (
        lambda root, cfg: Image.new('RGB', (40, 24)).save(root / IMAGE),
        f'{IMAGE} has 40 x 24 pixels, but its label map {{root}}/{LABEL} has 32 x 32'),
}


def spoilt(tmp_path, spoil):
    """A broken tree and the config of a run on it."""
    root = make_data(tmp_path / 'data')
    cfg = tiny_config(root, tmp_path / 'work')
    spoil(root, cfg)
    return root, cfg


def test_a_sound_tree_is_planned(tmp_path):
    _, cfg = spoilt(tmp_path, lambda root, cfg: listed(root, cfg, *(f'{i:03}' for i in range(12))))
    assert [plan.num_train for plan in ContinualRunner.from_cfg(cfg).plan()] == [8, 7, 5]


@pytest.mark.parametrize('kind', PLANNED)
def test_the_plan_names_what_is_broken(tmp_path, kind):
    spoil, message = PLANNED[kind]
    root, cfg = spoilt(tmp_path, spoil)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message.format(root=root))):
        ContinualRunner.from_cfg(cfg).plan()


@pytest.mark.parametrize('kind', LOADED)
def test_loading_names_the_image(tmp_path, kind):
    spoil, message = LOADED[kind]
    root, cfg = spoilt(tmp_path, spoil)
    runner = ContinualRunner.from_cfg(cfg)
    data = {key: value for key, value in runner.configs[2].train_dataloader.dataset.items() if key != 'type'}
    dataset = StepDataset(**data)
    broken = next(i for i in range(len(dataset)) if dataset.get_data_info(i)['img_path'].endswith(IMAGE))
    with pytest.raises(ValueError, match=re.escape(message.format(root=root))):
        dataset[broken]
