"""The check of a GPU, without one and without training."""
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmcss.checks import FAILED, PARTS, PASSED, GPUCheck
from mmcss.engine.packaged_files import PACKAGED


@pytest.fixture
def called(monkeypatch):
    """Commands that are called; what is trained leaves an mIoU of 40, the second of a work_dir one of ``called.then``."""
    calls = SimpleNamespace(all=[], then=40.0, code=0)

    def run(command, stdout, **_):
        assert command[0] == sys.executable
        calls.all.append(command[1:])
        if 'train' in command and not calls.code:
            work_dir = Path(command[command.index('--work-dir') + 1])
            work_dir.mkdir(exist_ok=True)
            file = work_dir / 'results.json'
            miou = calls.then if file.exists() else 40.0
            file.write_text(json.dumps(dict(steps=[dict(mIoU_old=50.0, mIoU_new=None, mIoU=miou)])))
            (work_dir / 'scalars.json').write_text('{"loss": 1.0, "memory": 7}\n')
        stdout.write('beginning\nthe last line\n')
        return SimpleNamespace(returncode=calls.code)

    monkeypatch.setattr(subprocess, 'run', run)
    return calls


def test_it_calls_what_the_package_brings_along(called, tmp_path):
    check = GPUCheck(tmp_path, 'cpu', seconds=60, epochs=2)
    row, = PARTS['precision'](check)
    assert row[:3] == ('precision', 'float32', PASSED) and row.note.startswith('old 50.0, all 40.0; 7 MiB; ')
    shapes, train = called.all
    assert shapes == [str(PACKAGED / 'tools' / 'make_shapes.py'), '--out', f'{tmp_path}/shapes8']
    assert train[:4] == ['-m', 'mmcss', 'train', 'mmcss::plop/deeplabv3_r101_voc_15-1.py']
    assert {'train_cfg.max_epochs=2', 'next_steps.train_cfg.max_epochs=2'} <= set(train)
    PARTS['group'](check)
    assert called.all[-1][:9] == ['-m', 'torch.distributed.run', '--nproc_per_node', '1', '--master_port', '29611', '-m',
                                  'mmcss', 'train']
    PARTS['speed'](check)
    assert called.all[-1][0] == str(PACKAGED / 'tools' / 'benchmark.py')


def test_a_run_that_differs_after_resume_has_failed(called, tmp_path):
    called.then = 39.0
    row, = PARTS['resume'](GPUCheck(tmp_path, 'cpu', seconds=60, epochs=1))
    assert (row.outcome, row.note) == (FAILED, 'mIoU 39.0, of the whole run 40.0')


def test_a_command_that_fails_is_told_by_its_last_line(called, tmp_path):
    check = GPUCheck(tmp_path, 'cpu', seconds=60, epochs=1)
    called.code = 3
    assert {row[2:] for row in PARTS['methods'](check)} == {(FAILED, 'ended with 3: the last line')}


def test_time_that_is_over(called, tmp_path):
    row, = PARTS['speed'](GPUCheck(tmp_path, 'cpu', seconds=5, epochs=1))
    assert (row.outcome, row.note) == (FAILED, 'no time was left') and called.all == []
