"""The plan of VOC 15-1 on a tree of tiny images with the real label sets."""
import re
from pathlib import Path

from tests.processes import call
from tests.shared_data import shared

ROOT = Path(__file__).resolve().parents[2]


def test_dry_run_of_plop_on_voc_15_1(tmp_path, monkeypatch):
    splits = shared('splits')
    monkeypatch.chdir(tmp_path)
    made = call(ROOT / 'tools' / 'make_voc_tree.py', '--splits', splits, '--out', 'data')
    assert made.returncode == 0, made.stderr
    done = call(ROOT / 'tools' / 'train.py', ROOT / 'configs' / 'plop' / 'deeplabv3_r101_voc_15-1.py', '--dry-run',
                '--no-rehearsal')  # tests/e2e/test_scenario_configs.py has it
    assert done.returncode == 0, done.stderr
    rows = re.findall(r'^\| +(\d) \| train +\| +(\d+) \|', done.stdout, re.MULTILINE)
    assert [int(images) for _, images in rows] == [9568, 487, 299, 491, 500, 548]
    assert not (tmp_path / 'work_dirs').exists()
