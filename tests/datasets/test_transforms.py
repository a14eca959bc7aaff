from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmcss.datasets.transforms import RandomResizedCrop, ScoreAsResized

ROOT = Path(__file__).resolve().parents[2]


def coordinates(height, width):
    """An image whose pixels say where they are, and labels that say the same."""
    rows, columns = np.mgrid[:height, :width]
    return dict(img=np.stack([rows, columns, rows], axis=2).astype(np.uint8), gt_seg_map=(rows // 8).astype(np.uint8))


def test_parts_have_the_asked_share_and_ratio():
    np.random.seed(0)
    crop = RandomResizedCrop()
    boxes = [crop.draw(300, 400) for _ in range(500)]
    for top, left, h, w in boxes:
        assert 0 <= top <= 300 - h and 0 <= left <= 400 - w
        assert .5 * 300 * 400 * .99 <= h * w <= 300 * 400
        assert 3 / 4 * .99 <= w / h <= 4 / 3 * 1.01
    assert len(set(boxes)) > 400


@pytest.mark.parametrize('height, width, share', [(375, 500, .14), (333, 500, .28), (512, 512, .06), (1024, 2048, .76)])
def test_how_often_no_draw_fits(height, width, share):
    """The authors' frequencies for images of VOC, squares and Cityscapes."""
    np.random.seed(0)
    crop = RandomResizedCrop()
    ratio = min(max(width / height, 3 / 4), 4 / 3)
    middle = (min(height, round(width / ratio)), min(width, round(height * ratio)))
    fallback = ((height - middle[0]) // 2, (width - middle[1]) // 2, *middle)
    fallback_share = np.mean([crop.draw(height, width) == fallback for _ in range(2000)])
    assert fallback_share == pytest.approx(share, abs=.03)


@pytest.mark.parametrize('size, box', [((100, 300), (0, 83, 100, 133)), ((300, 100), (83, 0, 133, 100)),
                                       ((90, 100), (0, 0, 90, 100))])
def test_the_largest_part_in_the_middle(size, box):
    assert RandomResizedCrop(attempts=0).draw(*size) == box


def test_labels_are_cut_with_the_image_and_not_interpolated():
    np.random.seed(1)
    results = RandomResizedCrop(size=(64, 48), scale=(.5, .6)).transform(coordinates(160, 120))
    assert results['img'].shape == (64, 48, 3) and results['gt_seg_map'].shape == (64, 48)
    assert results['img_shape'] == (64, 48)
    assert np.abs(results['img'][..., 0] / 8. - .5 - results['gt_seg_map'] + .5).max() < 1.3
    steps = np.diff(results['gt_seg_map'][:, 0].astype(int))
    assert set(steps) <= {0, 1}


def test_images_without_labels():
    results = RandomResizedCrop(size=(8, 8)).transform(dict(img=np.zeros((20, 30, 3), np.uint8)))
    assert results['img'].shape == (8, 8, 3) and 'gt_seg_map' not in results


def test_score_as_resized():
    results = dict(img=np.zeros((20, 30, 3), np.uint8), ori_shape=(200, 300))
    assert ScoreAsResized().transform(results)['ori_shape'] == (20, 30)


@pytest.mark.parametrize('size', [(90, 120), (120, 90), (333, 500)])
@pytest.mark.parametrize('role', ['train', 'test'])
def test_the_authors_pipelines(tmp_path, size, role):
    """Input, labels and the size that predictions are brought to are 512 x 512."""
    np.random.seed(0)
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'voc2012_mib_crops.py')
    Image.fromarray(np.random.randint(0, 255, (*size, 3), dtype=np.uint8)).save(tmp_path / 'a.jpg')
    Image.fromarray(np.random.randint(0, 21, size, dtype=np.uint8)).save(tmp_path / 'a.png')
    pipeline = Compose([TRANSFORMS.build(dict(step)) for step in cfg[f'{role}_pipeline']])
    packed = pipeline(dict(img_path=str(tmp_path / 'a.jpg'), seg_map_path=str(tmp_path / 'a.png'),
                           reduce_zero_label=False, seg_fields=[]))
    assert packed['inputs'].shape == (3, 512, 512)
    sample = packed['data_samples']
    assert sample.gt_sem_seg.data.shape == (1, 512, 512) and sample.gt_sem_seg.data.max() < 21
    if role == 'test':
        assert tuple(sample.ori_shape) == tuple(sample.img_shape) == (512, 512)
    loaders = [part.pipeline for part in cfg.train_dataloader.dataset.datasets]
    assert loaders == [cfg.train_pipeline] * 2 and cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline
