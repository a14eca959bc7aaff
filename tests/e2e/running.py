"""Running whole scenarios and looking at what they leave."""
from pathlib import Path

import torch

from mmcss.engine import ContinualRunner
from mmcss.models import load_hand_over

ROOT = Path(__file__).resolve().parents[2]


def run(cfg, **options):
    cfg = cfg.copy()
    cfg.run = options
    return ContinualRunner.from_cfg(cfg).train()


def state(work_dir, step):
    return load_hand_over(Path(work_dir) / f'step_{step}' / f'step_{step}.pth')['state_dict']


def assert_equal_states(a, b):
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
