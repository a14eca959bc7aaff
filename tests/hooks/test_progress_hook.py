import re
from types import SimpleNamespace

import pytest
import torch

from mmcss.hooks import ProgressHook


@pytest.fixture
def clock(monkeypatch):
    """Seconds, by hand."""
    now = SimpleNamespace(seconds=1000.)
    monkeypatch.setattr('mmcss.hooks.progress_hook.time.time', lambda: now.seconds)
    return now


def run(total, clock, first=0, seconds=0.):
    """Iterations of a step; the loss is the iteration's number."""
    runner = SimpleNamespace(iter=first, max_iters=total, cfg=SimpleNamespace(experiment_name='plop_step_1'))
    hook = ProgressHook()
    hook.before_train(runner)
    for runner.iter in range(first, total):
        clock.seconds += seconds
        hook.after_train_iter(runner, runner.iter, outputs=dict(loss=torch.tensor(float(runner.iter))))


@pytest.mark.parametrize('total', [10, 25, 100, 1007])
def test_ten_lines_a_step(capsys, clock, total):
    run(total, clock)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    shares = [int(re.search(r'(\d+) %', line).group(1)) for line in lines]
    assert all(0 <= share - 10 * (i + 1) < 100 / total for i, share in enumerate(shares))
    assert lines[-1] == f'plop_step_1: 100 %, loss {total - 1}.000, 0:00:00 left'


def test_time_left(capsys, clock):
    run(100, clock, seconds=6.)
    assert capsys.readouterr().out.splitlines()[0] == 'plop_step_1:  10 %, loss 9.000, 0:09:00 left'


def test_time_left_of_a_resumed_step(capsys, clock):
    """What ran before the stop took no time of this run."""
    run(100, clock, first=50, seconds=6.)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0] == 'plop_step_1:  60 %, loss 59.000, 0:04:00 left'


def test_few_iterations_have_a_line_each(capsys, clock):
    run(3, clock)
    assert [line.split(',')[0] for line in capsys.readouterr().out.splitlines()] == [
        'plop_step_1:  33 %', 'plop_step_1:  66 %', 'plop_step_1: 100 %']


def test_only_the_main_process_prints(capsys, clock, monkeypatch):
    monkeypatch.setattr('mmcss.hooks.progress_hook.is_main_process', lambda: False)
    run(10, clock)
    assert capsys.readouterr().out == ''
