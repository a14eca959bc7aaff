"""The worked examples of CONTRIBUTING.md: new files, no edit, and scenarios train with them."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmcss.files import read_json
from mmcss.models import load_hand_over
from tests.tiny import make_data

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r'^`([\w/]+\.py)`\n\n```python\n(.*?)^```', re.MULTILINE | re.DOTALL)
SCENARIO = '''
import sys
from pathlib import Path
import pytest
assert pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[3:]]) == 0
from mmengine.config import Config
from mmcss.engine import ContinualRunner
from tests.tiny import tiny_config
cfg = tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), continual={}, scenario=dict(base=3, increment=1))
cfg.merge_from_dict(Config.fromfile('configs/_base_/methods/lucir.py')._cfg_dict.to_dict())
cfg.continual.losses.hint = dict(type='Hint')
ContinualRunner.from_cfg(cfg).train()
cfg.continual = dict(memory=dict(size=4, policy='rainbow'), online=dict(type='BalancedReplay', images=2))
cfg.next_steps = dict(train_cfg=dict(max_epochs=1), param_scheduler=[])
cfg.work_dir += '_of_a_stream'
ContinualRunner.from_cfg(cfg).train()
'''


@pytest.mark.slow
def test_the_worked_examples(tmp_path):
    files = dict(BLOCK.findall((ROOT / 'CONTRIBUTING.md').read_text()))
    assert list(files) == [
        'mmcss/losses/lucir.py', 'configs/_base_/methods/lucir.py', 'tests/losses/test_lucir.py', 'mmcss/losses/fitnets.py',
        'mmcss/memory/policies/rainbow.py', 'tests/memory/policies/test_rainbow.py',
        'mmcss/memory/replay/balanced.py', 'tests/memory/replay/test_balanced.py']
    for folder in ('mmcss', 'configs', 'tests'):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns('__pycache__', '*.npz'))
    for name, text in files.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    (tmp_path / 'scenario.py').write_text(SCENARIO)
    make_data(tmp_path / 'data')
    environment = dict(os.environ, PYTHONPATH=str(tmp_path))
    done = subprocess.run([sys.executable, 'scenario.py', 'data', 'run', *(name for name in files if name.startswith('tests'))], cwd=tmp_path, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / 'run' / 'results.json').is_file()
    log = next((tmp_path / 'run' / 'step_1').glob('*/vis_data/scalars.json')).read_text()
    assert 'loss_less_forget' in log and 'loss_unkd' in log and 'loss_hint' in log
    assert 'part_modules.hint.regressor.weight' in load_hand_over(tmp_path / 'run' / 'step_1' / 'step_1.pth')['state_dict']
    assert len(read_json(tmp_path / 'run_of_a_stream' / 'step_1' / 'memory.json')['exemplars']) == 4
