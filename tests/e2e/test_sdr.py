"""SDR's prototypes through whole scenarios."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from mmcss.session.part_states import load_state
from tests.e2e.running import ROOT, assert_equal_states, run, state, together
from tests.tiny import tiny_config

SDR = Config.fromfile(ROOT / 'configs' / '_base_' / 'methods' / 'sdr.py').continual.to_dict()


def prototypes(work_dir, step):
    return load_state(Path(work_dir) / f'step_{step}' / 'parts' / 'sdr.npz').state


@pytest.fixture(scope='module')
def whole(tiny_data, tmp_path_factory):
    """Three steps of SDR."""
    work_dir = tmp_path_factory.mktemp('sdr')
    assert len(run(tiny_config(tiny_data, work_dir, continual=SDR))['steps']) == 3
    return work_dir


def test_each_step_shapes_and_leaves_its_prototypes(whole):
    for step, told in enumerate([{'decode.loss_ce', 'loss_sdr'}, *[{'decode.loss_unce', 'loss_unkd', 'loss_sdr'}] * 2]):
        log = next((whole / f'step_{step}').glob('*/vis_data/scalars.json')).read_text()
        assert {key for key in json.loads(log.splitlines()[0]) if 'loss' in key} == told | {'loss'}
        assert all(tensor.isfinite().all() for tensor in state(whole, step).values() if tensor.is_floating_point())
        found = prototypes(whole, step)
        assert found['prototypes'].shape == (3 + step, 64) and (found['counts'] > 0).all()
        assert found['prototypes'].any(dim=1).all()
        if step:  # labels tell new classes alone; the background goes on
            before = prototypes(whole, step - 1)
            assert torch.equal(found['prototypes'][1:-1], before['prototypes'][1:])
            assert found['counts'][0] > before['counts'][0]


@pytest.mark.parametrize('step', [0, 1])
def test_a_resumed_step_has_the_same_prototypes(whole, tiny_data, tmp_path, step):
    """They lie in the checkpoint, as they were at its iteration."""
    cfg = tiny_config(tiny_data, tmp_path, continual=SDR)
    stopping = cfg.copy()
    stopping.custom_hooks = [dict(type='StopHook', step=step, iteration=3)]  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        run(stopping, steps='0-1')
    cfg.resume = True
    run(cfg, steps='0-1')
    for k in range(2):
        assert_equal_states(state(whole, k), state(tmp_path, k))
        assert_equal_states(prototypes(whole, k), prototypes(tmp_path, k))


def test_a_first_step_from_elsewhere_is_looked_at(whole, tiny_data, tmp_path):
    """Its folder is not read: each image of the step is seen once with the trained model."""
    run(tiny_config(tiny_data, tmp_path, continual=SDR), steps='0-1', first_step_from=str(whole))
    assert_equal_states(state(whole, 0), state(tmp_path, 0))
    found, trained = prototypes(tmp_path, 0), prototypes(whole, 0)
    assert torch.equal(3 * found['counts'], trained['counts'])  # three epochs saw them
    assert prototypes(tmp_path, 1)['prototypes'].shape == (4, 64)


def test_two_processes(tiny_data, tmp_path):
    """All vectors of both count: those of half as many iterations with twice as many images."""
    run(tiny_config(tiny_data, tmp_path / 'one', continual=SDR), steps='0-1')
    cfg = tiny_config(tiny_data, tmp_path / 'two', continual=SDR)
    cfg.train_dataloader.batch_size = 2
    cfg.dump(tmp_path / 'config.py')
    together('train.py', tmp_path / 'config.py', '--step', '0-1')
    one, two = (prototypes(tmp_path / name, 0) for name in ('one', 'two'))
    assert torch.equal(one['counts'], two['counts'])
    after = prototypes(tmp_path / 'two', 1)
    assert torch.equal(after['prototypes'][1:3], two['prototypes'][1:]) and after['prototypes'][3].any()
