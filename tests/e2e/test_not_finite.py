"""A run whose numbers go astray."""
import pytest

from tests.e2e.running import run
from tests.tiny import tiny_config


def test_a_step_with_nan_stops_and_leaves_nothing(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'work', continual=dict(memory=dict(size=4)))
    cfg.optim_wrapper.optimizer.lr = 1e20
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=1)
    with pytest.raises(FloatingPointError, match=r'step 0: decode.loss_ce is (nan|inf) in iteration 2 on .*images.train.*png'):
        run(cfg)
    left = {path.name for path in (tmp_path / 'work' / 'step_0').iterdir()}
    assert 'iter_1.pth' in left and not left & {'iter_2.pth', 'step_0.pth', 'memory.json', 'result.json'}
    assert not (tmp_path / 'work' / 'step_1').exists()
