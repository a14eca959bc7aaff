"""Batches of a single image."""
import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config

from mmcss.engine import build_scenario, lone_images, step_config
from mmcss.engine.lone_images import check_lone_images, norms_of_one_value
from tests.tiny import tiny_config, tiny_model

HEAD = dict(tiny_model()['decode_head'])
del HEAD['num_convs']
ASPP = dict(HEAD, type='ASPPHead', dilations=(1, 2))


def config(head, tmp_path, step=0, batch_size=8, size=(32, 32), **changes) -> Config:
    cfg = tiny_config(tmp_path, tmp_path, continual=changes.pop('continual', {}), **changes)
    cfg.model.decode_head = head
    cfg.model.data_preprocessor.size = size
    cfg.train_dataloader.batch_size = batch_size
    return step_config(cfg, build_scenario(cfg), step)


@pytest.mark.parametrize('head, found', [
    (ASPP, ['decode_head.image_pool.1.bn']),
    (dict(HEAD, type='PSPHead', pool_scales=(1, 2)), ['decode_head.psp_modules.0.1.bn']),
    (tiny_model()['decode_head'], []),
    (dict(ASPP, norm_cfg=dict(type='GN', num_groups=4)), []),
])
def test_norms_behind_a_pooling_over_the_image(tmp_path, head, found):
    assert norms_of_one_value(config(head, tmp_path)) == found


def test_small_images_leave_one_value_in_the_body(tmp_path):
    found = norms_of_one_value(config(tiny_model()['decode_head'], tmp_path, size=(8, 8)))
    assert found[0].startswith('backbone.layer2') and found[-1].startswith('decode_head')


@pytest.mark.parametrize('step, found', [(0, 1), (1, 0)])
def test_norms_that_are_frozen_take_one_image(tmp_path, step, found):
    method = dict(frozen=['norms'])
    assert len(norms_of_one_value(config(ASPP, tmp_path, step, continual=method))) == found


def test_heads_beside_the_decode_head_are_looked_at(tmp_path):
    cfg = config(tiny_model()['decode_head'], tmp_path)
    cfg.model.auxiliary_head = dict(ASPP, num_classes=3)
    assert norms_of_one_value(cfg) == ['auxiliary_head.image_pool.1.bn']
    cfg.model.auxiliary_head = [dict(ASPP, num_classes=3), dict(HEAD, type='FCNHead', num_classes=3)]
    assert norms_of_one_value(cfg) == ['auxiliary_head.0.image_pool.1.bn']


@pytest.mark.parametrize('gpus, processes, found', [(True, 2, 0), (True, 1, 1), (False, 2, 1)])
def test_norms_that_see_all_processes(tmp_path, monkeypatch, gpus, processes, found):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus)
    monkeypatch.setattr(lone_images, 'get_world_size', lambda: processes)
    assert len(norms_of_one_value(config(ASPP, tmp_path))) == found


def test_norms_are_found_beside_a_process_group(tmp_path):
    """SyncBN does not run on the CPU then."""
    dist.init_process_group('gloo', init_method=f'file://{tmp_path / "group"}', rank=0, world_size=1)
    try:
        assert norms_of_one_value(config(ASPP, tmp_path)) == ['decode_head.image_pool.1.bn']
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize('batch_size, told', [
    (8, 'step 1: 9 images in batches of 8 leave a last batch of one image, and decode_head.image_pool.1.bn normalises over '
        'one value a channel there, .*Set train_dataloader.drop_last=True, or another train_dataloader.batch_size.'),
    (1, 'step 1: train_dataloader.batch_size=1, and decode_head.* Set train_dataloader.batch_size=2 or more.')])
def test_what_is_told(tmp_path, batch_size, told):
    with pytest.raises(ValueError, match=told):
        check_lone_images(config(ASPP, tmp_path, 1, batch_size), 9)


def test_other_models_take_one_image(tmp_path):
    check_lone_images(config(tiny_model()['decode_head'], tmp_path, 0), 9)


@pytest.mark.parametrize('size, pipeline, expected', [
    ((24, 48), [], (24, 48)), (None, [dict(type='RandomCrop', crop_size=(16, 20))], (16, 20)),
    (None, [dict(type='RandomCrop', crop_size=16)], (16, 16)), (None, [], (512, 512))])
def test_the_size_of_training_images(tmp_path, size, pipeline, expected):
    cfg = config(ASPP, tmp_path, size=size)
    cfg.train_dataloader.dataset.dataset.pipeline = pipeline
    assert lone_images._image_size(cfg) == expected
