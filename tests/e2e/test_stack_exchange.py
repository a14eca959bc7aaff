"""What one OpenMMLab stack leaves, the other one takes up."""
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from mmseg.apis import inference_model, init_model

from mmcss.engine import ContinualRunner
from mmcss.files import read_json
from mmcss.stack import installed_stack
from tests.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.stack]
PREDICT = """
import sys, torch
from mmseg.apis import inference_model, init_model
model = init_model(sys.argv[1], sys.argv[2], device='cpu')
torch.save(inference_model(model, sys.argv[3]).seg_logits.data, sys.argv[4])
"""


@pytest.fixture(scope='module')
def other():
    """The python of an environment with the other stack."""
    python = os.environ.get('MMCSS_OTHER_PYTHON')
    if not python:
        pytest.skip('MMCSS_OTHER_PYTHON does not name the python of the other stack; tools/test_stacks.sh does')
    script = 'from mmcss.stack import installed_stack; print(installed_stack())'
    stack = subprocess.run([python, '-W', 'ignore', '-c', script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert {stack.stdout.split()[-1], installed_stack()} == {'onedl', 'openmmlab'}
    return python


def test_exchange(tiny_data, tmp_path, other):
    cfg = tiny_config(tiny_data, tmp_path / 'run', scenario=dict(base=3, increment=1))
    stopping = cfg.copy()
    stopping.custom_imports = dict(imports=['mmcss', 'stop_hook'], allow_failed_imports=False)
    stopping.custom_hooks = [dict(type='StopHook', step=1, iteration=3, kill=True)]
    stopping.dump(tmp_path / 'config.py')
    paths = os.pathsep.join([str(ROOT), str(ROOT / 'tests' / 'e2e'), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run([other, str(ROOT / 'tools' / 'train.py'), str(tmp_path / 'config.py')],
                          capture_output=True, env=dict(os.environ, PYTHONPATH=paths))
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:].decode()
    assert (tmp_path / 'run' / 'step_1' / 'epoch_1.pth').is_file()

    # Its step 0 is taken over, its checkpoint in the middle of step 1 is resumed.
    written = (tmp_path / 'run' / 'step_0' / 'step_0.pth').stat().st_mtime_ns
    cfg.resume = True
    ContinualRunner.from_cfg(cfg).train()
    assert len(read_json(tmp_path / 'run' / 'results.json')['steps']) == 2
    assert (tmp_path / 'run' / 'step_0' / 'step_0.pth').stat().st_mtime_ns == written

    # Both predict the same from either's hand-over, without mmcss.
    image = str(sorted((tiny_data / 'images' / 'val').iterdir())[0])
    for step in range(2):
        folder = tmp_path / 'run' / f'step_{step}'
        files = [str(folder / 'deploy.py'), str(folder / f'step_{step}.pth')]
        ours = inference_model(init_model(*files, device='cpu'), image).seg_logits.data
        subprocess.run([other, '-W', 'ignore', '-c', PREDICT, *files, image, str(tmp_path / 'theirs.pt')], check=True,
                       capture_output=True)
        torch.testing.assert_close(torch.load(tmp_path / 'theirs.pt'), ours, rtol=1e-4, atol=1e-4)
