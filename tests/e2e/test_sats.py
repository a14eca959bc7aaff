"""SATS, from its own config, goes through a whole scenario on a tiny Segformer."""
import pytest
from mmengine.config import Config

from mmcss.engine import ContinualRunner
from mmcss.files import read_json
from tests.e2e.running import assert_equal_states, state, together
from tests.e2e.test_methods import METHODS, losses
from tests.tiny import tiny_config, tiny_model


def tiny_segformer():
    """A stock Segformer of one block a stage, with random depth, whose grids have 8, 4, 2 and 1 cells a side."""
    head = dict(tiny_model()['decode_head'], type='SegformerHead', in_channels=[16, 32, 64, 128], in_index=[0, 1, 2, 3],
                norm_cfg=None)  # the coarsest stage has one cell, a last batch one image
    del head['num_convs']
    backbone = dict(type='MixVisionTransformer', embed_dims=16, num_layers=[1] * 4, num_heads=[1, 2, 4, 8],
                    sr_ratios=[4, 2, 2, 1], drop_path_rate=.1)
    return dict(tiny_model(), backbone=backbone, decode_head=head)


def config(data, work_dir, method, profile='paper', model=None):
    cfg = tiny_config(data, work_dir, continual={}, scenario=dict(base=3, increment=1), model=model or tiny_segformer())
    cfg.merge_from_dict(Config.fromfile(METHODS / f'{method}.py')._cfg_dict.to_dict())
    cfg.profile = profile
    cfg.train_cfg.max_epochs = 1
    if 'memory' in cfg.continual:
        cfg.continual.memory.size = cfg.official.continual.memory.size = 4
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('method, profile', [('sats', 'paper'), ('sats_m', 'official')])
def test_a_scenario(tiny_data, tmp_path, method, profile):
    results = ContinualRunner.from_cfg(config(tiny_data, tmp_path, method, profile)).train()
    assert [step['step'] for step in results['steps']] == [0, 1]
    assert results['protocol_name'] == {'paper': 'default', 'official': 'plop'}[profile]
    assert losses(tmp_path, 0) == {'loss', 'decode.loss_ce'}
    assert losses(tmp_path, 1) == {'loss', 'decode.loss_ce', 'loss_unkd', 'loss_attention'}
    assert (tmp_path / 'step_1' / 'parts' / 'targets.npz').is_file()
    assert (tmp_path / 'step_1' / 'memory.json').is_file() is (method == 'sats_m')
    for step in (0, 1):
        assert all(value.isfinite().all() for value in state(tmp_path, step).values() if value.is_floating_point())


def test_two_processes(tiny_data, tmp_path):
    """With memory, and medians over both processes; finished steps are not trained again."""
    cfg = config(tiny_data, tmp_path / 'two', 'sats_m')
    cfg.train_dataloader.batch_size = 2
    cfg.dump(tmp_path / 'config.py')
    together('train.py', tmp_path / 'config.py')
    before = state(tmp_path / 'two', 1)
    assert losses(tmp_path / 'two', 1) == {'loss', 'decode.loss_ce', 'loss_unkd', 'loss_attention'}
    assert len(read_json(tmp_path / 'two' / 'results.json')['steps']) == 2
    together('train.py', tmp_path / 'config.py', '--resume')
    assert_equal_states(before, state(tmp_path / 'two', 1))


def test_a_backbone_without_attention_is_refused_before_training(tiny_data, tmp_path):
    cfg = config(tiny_data, tmp_path, 'sats', model=tiny_model())
    cfg.run = dict(rehearsal=True)
    with pytest.raises(ValueError, match='attention of ResNetV1c is not known; use one of MixVisionTransformer'):
        ContinualRunner.from_cfg(cfg).train()
    assert not list(tmp_path.rglob('*.pth'))
