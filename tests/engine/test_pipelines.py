"""The pipelines of a config, each run once."""
import pytest
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from mmcss.engine import build_scenario, step_config
from mmcss.engine.pipelines import check_pipelines
from tests.tiny import tiny_config

IMAGE, LABELS, PACK = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True), dict(type='PackSegInputs')
RESIZE = dict(type='Resize', scale=(32, 16))
CROP = dict(type='RandomCrop', crop_size=(2048, 2048))
FLOAT = dict(type='LoadImageFromFile', to_float32=True, imdecode_backend='tifffile', color_type='unchanged')
AUGMENTED = dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=1.)], [LABELS], [PACK]])


@TRANSFORMS.register_module(force=True)
class LoadsOtherFiles(BaseTransform):
    """A loader of files that are not there."""

    def transform(self, results):
        raise AssertionError(results['img_path'])


@TRANSFORMS.register_module(force=True)
class WantsRed(BaseTransform):
    """Takes what its own data set alone has."""

    def transform(self, results):
        return dict(results, red=results['redness'])


@DATASETS.register_module(force=True)
class RedDataset(BaseSegDataset):
    """Has a key of its own for each image."""

    def load_data_list(self):
        return [dict(one, redness=1.) for one in super().load_data_list()]


def checked(tmp_path, role, pipeline, kind='BaseSegDataset', step=1):
    cfg = tiny_config(tmp_path, tmp_path)
    cfg[f'{role}_dataloader'].dataset.update(pipeline=pipeline, type=kind)
    check_pipelines([step_config(cfg, build_scenario(cfg), step)], tmp_path, 3)


@pytest.mark.parametrize('role, pipeline, kind', [
    ('train', [IMAGE, LABELS, RESIZE, CROP, PACK], 'BaseSegDataset'),
    ('train', [FLOAT, LABELS, dict(type='PhotoMetricDistortion'), PACK], 'BaseSegDataset'),
    ('test', [IMAGE, RESIZE, LABELS, PACK], 'BaseSegDataset'),
    ('test', [IMAGE, LABELS, RESIZE, dict(type='ScoreAsResized'), PACK], 'BaseSegDataset'),
    ('test', [IMAGE, AUGMENTED], 'BaseSegDataset'),
    ('train', [dict(type='LoadsOtherFiles'), LABELS, PACK], 'BaseSegDataset'),
    ('train', [IMAGE, LABELS, dict(type='WantsRed'), PACK], 'RedDataset'),
])
def test_good_pipelines(tmp_path, role, pipeline, kind):
    checked(tmp_path, role, pipeline, kind)


@pytest.mark.parametrize('role, pipeline, message', [
    ('test', [IMAGE, LABELS, RESIZE, PACK],
     'step 0: test_dataloader.dataset.pipeline: got labels of 16 x 32 pixels of an image of 1024 x 1024, expected 1024 x 1024. '
     'Put LoadAnnotations after the transforms that resize.'),
    ('train', [IMAGE, RESIZE, LABELS, PACK],
     'step 0: train_dataloader.dataset.pipeline: got labels of 1024 x 1024 pixels of an image of 1024 x 1024, expected 16 x 32. '
     'Put LoadAnnotations before the transforms that resize.'),
    ('test', [IMAGE, dict(type='Resize', scale=(0, 0)), LABELS, PACK],
     "step 0: test_dataloader.dataset.pipeline[1]: got {'type': 'Resize', 'scale': (0, 0)}, which fails on random images: "),
    ('train', [IMAGE, LABELS, dict(type='WantsRed'), PACK],
     "step 0: train_dataloader.dataset.pipeline[2]: got {'type': 'WantsRed'}, which fails on random images: KeyError: 'redness'. "
     'If it works on your images, skip this check with --no-rehearsal (run.rehearsal=False).'),
])
def test_pipelines_that_fail(tmp_path, role, pipeline, message):
    with pytest.raises(ValueError) as caught:
        checked(tmp_path, role, pipeline)
    assert str(caught.value).startswith(message)
