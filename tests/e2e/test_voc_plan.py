"""The plan of VOC 15-1 on a tree of tiny images with the real label sets."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared_data import shared

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_dry_run_of_plop_on_voc_15_1(tmp_path):
    splits = shared('splits')
    subprocess.run([sys.executable, str(ROOT / 'tools' / 'make_voc_tree.py'), '--splits', str(splits), '--out', 'data'],
                   check=True, cwd=tmp_path)
    done = subprocess.run([sys.executable, str(ROOT / 'tools' / 'train.py'),
                           str(ROOT / 'configs' / 'plop' / 'deeplabv3_r101_voc_15-1.py'), '--dry-run'],
                          check=True, capture_output=True, text=True, cwd=tmp_path)
    rows = re.findall(r'^\| +(\d) \| train +\| +(\d+) \|', done.stdout, re.MULTILINE)
    assert [int(images) for _, images in rows] == [9568, 487, 299, 491, 500, 548]
    assert not (tmp_path / 'work_dirs').exists()
