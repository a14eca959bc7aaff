"""What the check of a GPU judges; its runs take minutes, and a GPU."""
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
sys.path.insert(0, str(TOOLS))
import check_gpu  # noqa: E402
from check_gpu import Run  # noqa: E402


class Fake:
    """Stands for a check whose runs end with given results, by the names of their work_dirs."""

    cuda = True

    def __init__(self, tmp_path, **runs):
        self.root, self.runs, self.settings = tmp_path, runs, {}

    def train(self, name, method, *options, **settings):
        self.settings[name] = (method, *options, settings)
        return self.runs.get(name, Run(50.0, [], 'note'))

    def run_tool(self, name, arguments, launch=()):
        (self.root / f'{name}.log').write_text('the table')
        return self.runs.get(name, ('', 3.0))


def outcomes(rows):
    return [(row.case, row.outcome, row.note) for row in rows]


def test_half_precision_has_to_be_finite_and_near(tmp_path):
    check = Fake(tmp_path, float16=Run(39.0, [], ''), bfloat16=Run(45.0, ['loss is not finite'], ''))
    assert outcomes(check_gpu.precision(check)) == [
        ('float32', 'passed', 'note'), ('float16', 'FAILED', 'mIoU 39.0, in float32 50.0'),
        ('bfloat16', 'FAILED', 'loss is not finite')]
    assert check.settings['bfloat16'] == ('plop', '--amp', {'optim_wrapper.dtype': 'bfloat16'})


def test_a_resumed_run_has_to_equal_a_whole_one(tmp_path):
    assert outcomes(check_gpu.resume(Fake(tmp_path))) == [('stopped after step 1', 'passed', 'note')]
    rows = check_gpu.resume(Fake(tmp_path, stopped=Run(50.1, [], 'note')))
    assert outcomes(rows) == [('stopped after step 1', 'FAILED', 'mIoU 50.1, of the whole run 50.0')]


def test_what_ends_with_an_error_has_failed(tmp_path):
    check = Fake(tmp_path, syncbn=Run(None, ['ended with 1: no'], ''), benchmark=('no time was left', 0.0))
    assert outcomes(check_gpu.group(check)) == [('one process', 'passed', 'note'), ('one process, SyncBN', 'FAILED',
                                                                                   'ended with 1: no')]
    assert [row.outcome for row in check_gpu.speed(check)] == ['FAILED']
    assert [row.outcome for row in check_gpu.methods(check)] == ['passed'] * len(check_gpu.METHODS)


def test_a_tool_that_fails_or_takes_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(check_gpu.Check, '__init__', lambda self, root, seconds: self.__dict__.update(
        root=root, end=check_gpu.time.time() + seconds))
    monkeypatch.setattr(check_gpu, 'TOOLS', tmp_path)
    (tmp_path / 'bad.py').write_text('print("line"); raise SystemExit("it went wrong")')
    (tmp_path / 'slow.py').write_text('import time; time.sleep(60)')
    error, _ = check_gpu.Check(tmp_path, 30).run_tool('bad', ['bad.py'])
    assert error == 'ended with 1: it went wrong'
    assert check_gpu.Check(tmp_path, 11).run_tool('slow', ['slow.py'])[0] == 'no time was left'
    assert check_gpu.Check(tmp_path, 5).run_tool('slow', ['slow.py']) == ('no time was left', 0.0)


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(check_gpu.torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        check_gpu.main([])
    assert 'torch sees no GPU here' in capsys.readouterr().err
