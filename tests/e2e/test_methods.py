"""Each method's own config goes through a whole scenario."""
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmcss.engine import ContinualRunner
from mmcss.models import load_hand_over
from tests.tiny import tiny_config

METHODS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'methods'


def train(tiny_data, work_dir, method, profile):
    cfg = tiny_config(tiny_data, work_dir, continual={}, scenario=dict(base=3, increment=1))
    cfg.merge_from_dict(Config.fromfile(METHODS / f'{method}.py')._cfg_dict.to_dict())
    cfg.profile = profile
    if method.startswith('ssul'):
        maps = Path(work_dir) / 'maps'
        for path in (tiny_data / 'labels' / 'train').iterdir():  # salient is what has a class
            maps.mkdir(exist_ok=True)
            Image.fromarray((np.array(Image.open(path)) % 255 > 0).astype(np.uint8)).save(maps / path.name)
        cfg.continual.unknown.folder = str(maps)
    return ContinualRunner.from_cfg(cfg).train()


def losses(work_dir, step):
    """Names of the losses that a step's log tells."""
    log = next((Path(work_dir) / f'step_{step}').glob('*/vis_data/scalars.json')).read_text()
    return {key for key in json.loads(log.splitlines()[0]) if 'loss' in key}


@pytest.mark.slow
@pytest.mark.parametrize('method, profile, told', [
    ('lwf', 'paper', [{'decode.loss_ce'}, {'decode.loss_ce', 'loss_kd'}]),
    ('lwf_mc', 'paper', [{'decode.loss_bce'}, {'decode.loss_bce', 'loss_bce_kd'}]),
    ('ilt', 'official', [{'decode.loss_ce'}, {'decode.loss_ce', 'loss_kd', 'loss_features'}]),
    ('mib', 'official', [{'decode.loss_ce'}, {'decode.loss_unce', 'loss_unkd'}]),
    ('plop', 'official', [{'decode.loss_ce'}, {'decode.loss_ce', 'loss_local_pod'}]),
    ('reminder', 'paper', [{'decode.loss_ce'}, {'decode.loss_ce', 'loss_local_pod', 'loss_csw_kd'}]),
    ('reminder', 'official', [{'decode.loss_ce'}, {'decode.loss_ce', 'loss_local_pod', 'loss_csw_kd'}]),
    ('ssul', 'paper', [{'decode.loss_bce'}, {'decode.loss_bce'}]),
    ('ssul_m', 'official', [{'decode.loss_bce'}, {'decode.loss_bce'}]),
])
def test_a_scenario(tiny_data, tmp_path, capsys, method, profile, told):
    results = train(tiny_data, tmp_path, method, profile)
    assert [step['step'] for step in results['steps']] == [0, 1]
    protocol = 'default' if profile == 'paper' else {'mib': 'mib', 'ssul_m': 'ssul'}.get(method, 'plop')
    assert (results['profile'], results['protocol_name']) == (profile, protocol)
    assert f'profile: {profile}; protocol: {protocol} (' in capsys.readouterr().out
    for step, names in enumerate(told):
        assert losses(tmp_path, step) == names | {'loss'}
        state = load_hand_over(tmp_path / f'step_{step}' / f'step_{step}.pth')['state_dict']
        assert all(tensor.isfinite().all() for tensor in state.values() if tensor.dtype.is_floating_point)
    thresholds = (tmp_path / 'step_1' / 'parts' / 'targets.npz').exists()
    assert thresholds == (method in ('plop', 'reminder'))
