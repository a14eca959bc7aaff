"""Running whole scenarios and looking at what they leave."""
import os
import subprocess
import sys
from pathlib import Path

import torch

from mmcss.engine import ContinualRunner
from mmcss.models import load_hand_over
from tests.processes import call_together, free_port

ROOT = Path(__file__).resolve().parents[2]


def run(cfg, **options):
    cfg = cfg.copy()
    cfg.run = dict(cfg.run, **options)
    return ContinualRunner.from_cfg(cfg).train()


def state(work_dir, step):
    return load_hand_over(Path(work_dir) / f'step_{step}' / f'step_{step}.pth')['state_dict']


def assert_equal_states(a, b):
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def together(tool, config, *options):
    """Run one of the tools in two processes, and return what they say."""
    return call_together(ROOT / 'tools' / tool, config, '--launcher', 'pytorch', *options)


def launch(script, *arguments):
    """Run one of the shell scripts, from scratch as a user does, and return what it says."""
    environment = dict(os.environ, PYTHON=sys.executable, PORT=str(free_port()), OMP_NUM_THREADS='1')
    done = subprocess.run(['bash', str(ROOT / 'tools' / script), *map(str, arguments)], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
