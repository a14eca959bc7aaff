"""The pieces of the long reliability check; the check itself takes minutes."""
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcss.checks import Row
from mmcss.engine import build_scenario

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
sys.path.insert(0, str(TOOLS))
import _soak_damage  # noqa: E402
import _soak_disk  # noqa: E402
import _soak_growth  # noqa: E402
import _soak_kills  # noqa: E402
import _soak_processes  # noqa: E402
import _soak_runs  # noqa: E402
import soak  # noqa: E402
from _soak_growth import Cost  # noqa: E402


@pytest.fixture
def finished(tmp_path):
    """What a run of two steps leaves, without training."""
    work_dir = tmp_path / 'whole'
    for step in range(2):
        folder = work_dir / f'step_{step}'
        (folder / 'memory' / 'images').mkdir(parents=True)
        torch.save(dict(state_dict=dict(w=torch.arange(400.) + step), meta=dict(id=f'id{step}')), folder / f'step_{step}.pth')
        (folder / 'memory.json').write_text(json.dumps(dict(hand_over=f'id{step}', exemplars=[dict(image='a.png')])))
        (folder / 'memory' / 'images' / 'a.png').write_bytes(b'pixels')
    (work_dir / 'results.json').write_text(json.dumps(dict(matrix=[[1, 2]], steps=[dict(hand_over='id0')])))
    return work_dir


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / 'run'))


def test_equal_runs_may_have_other_ids(finished, copy):
    state = torch.load(copy / 'step_0' / 'step_0.pth', weights_only=True)['state_dict']
    torch.save(dict(state_dict=state, meta=dict(id='other')), copy / 'step_0' / 'step_0.pth')
    (copy / 'step_0' / 'memory.json').write_text(json.dumps(dict(hand_over='other', exemplars=[dict(image='a.png')])))
    assert _soak_runs.differences(finished, copy) == []


def change_tensor(run):
    torch.save(dict(state_dict=dict(w=torch.arange(400.) + 0.5), meta=dict(id='id0')), run / 'step_0' / 'step_0.pth')


@pytest.mark.parametrize('change, told', [
    (change_tensor, 'step_0/step_0.pth differs'),
    (lambda run: (run / 'results.json').write_text('{"matrix": [[1, 3]]}'), 'results.json differs'),
    (lambda run: (run / 'step_1' / 'memory.json').write_text('{"exemplars": []}'), 'step_1/memory.json differs'),
    (lambda run: (run / 'step_1' / 'memory' / 'images' / 'a.png').write_bytes(b'other'), 'step_1/memory/images/a.png differs'),
    (lambda run: (run / 'step_1' / 'step_1.pth').unlink(), 'step_1/step_1.pth is only in whole'),
    (lambda run: (run / 'step_1' / 'memory' / 'images' / 'b.png').write_bytes(b''), 'step_1/memory/images/b.png is only in run'),
    (lambda run: (run / 'results.json').unlink(), 'results.json differs'),
    (lambda run: (run / 'results.json').write_text('[]'), 'results.json differs'),
    (lambda run: (run / 'step_1' / 'step_1.pth').write_bytes(b'garbage'), 'step_1/step_1.pth differs'),
])
def test_runs_that_differ(finished, copy, change, told):
    change(copy)
    assert _soak_runs.differences(finished, copy) == [told]


def test_hand_overs_are_told_apart(finished, copy):
    before = _soak_runs.hand_overs(copy)
    assert sorted(before) == ['step_0.pth', 'step_1.pth'] and before == _soak_runs.hand_overs(finished)
    change_tensor(copy)
    after = _soak_runs.hand_overs(copy)
    assert after['step_0.pth'] != before['step_0.pth'] and after['step_1.pth'] == before['step_1.pth']


def test_damages(tmp_path):
    content, path = bytes(range(256)) * 2, tmp_path / 'result.json'
    found = {}
    for name, way in _soak_damage.ways(path.name).items():
        path.write_bytes(content)
        way(path)
        found[name] = path.read_bytes() if path.is_file() else path.is_dir()
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert len(found.pop('garbage')) == 300
    assert found == {
        'empty': b'', 'cut in half': content[:256], 'missing': False, 'a folder': True, 'null': b'null', '[]': b'[]',
        '{}': b'{}', 'no UTF-8': b'\x82\x00\xff', '64 bytes overwritten': content[:224] + bytes(range(64)) + content[288:]}
    assert set(_soak_damage.ways('step_1.pth')) == set(found) - {'null', '[]', '{}', 'no UTF-8'} | {'garbage'}


@pytest.mark.parametrize('name, whole', [('step_1.pth', True), ('step_1.pth', False), ('csw_kd.npz', True)])
def test_files_with_code_run_it_where_they_are_trusted(tmp_path, name, whole):
    path, marker = tmp_path / name, tmp_path / 'marker'
    _soak_damage._write_code(path, marker, whole)
    assert not marker.exists()
    if path.suffix == '.npz':
        np.load(path, allow_pickle=True)['code']
    elif whole:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert marker.exists()


def test_a_full_disk(tmp_path, monkeypatch):
    class Usage:
        free = 300_000
    monkeypatch.setattr(_soak_disk.shutil, 'disk_usage', lambda path: Usage)
    _soak_disk.fill_disk(tmp_path / 'ballast', 100_000)
    assert (tmp_path / 'ballast').stat().st_size == 200_000


def test_what_an_error_on_a_full_disk_has_to_say(tmp_path):
    def faults(error):
        return len(_soak_disk._unclear(error, tmp_path / 'run'))
    assert faults(OSError(28, 'No space left on device', str(tmp_path / 'run' / 'step_1' / 'step_1.pth'))) == 0
    assert faults(OSError(28, 'No space left on device')) == 1
    assert faults(OSError('step_1.pth: no space left')) == 0
    assert faults(RuntimeError('unexpected pos 3 vs 4')) == 2


def costs(late, relative=1.0):
    return [Cost(1.0, 1.0, 1.0, 100.0, 7)] * 35 + [Cost(9.0, relative, 9.0, *late)] * 5


@pytest.mark.parametrize('late, relative, told', [
    ((105.0, 8), 1.1, []),
    ((100.0, 7), 1.5, ['processor time is 1.50 times, at most 1.2 is meant']),
    ((120.0, 7), 1.0, ['memory is 1.20 times, at most 1.1 is meant']),
    ((100.0, 40), 1.0, ['33 more descriptors are open']),
])
def test_growth(late, relative, told):
    assert _soak_growth.verdict(costs(late, relative)) == told


def test_the_meter_sees_what_a_step_holds(monkeypatch):
    monkeypatch.setattr(_soak_growth.gc, 'collect', lambda: 0)  # of all that tests hold
    monkeypatch.setattr(_soak_growth, 'calculation', lambda: 0.5)
    meter = _soak_growth.Meter()
    meter.note()
    pipes = [end for _ in range(4) for end in os.pipe()]
    meter.note()
    for end in pipes:
        os.close(end)
    first, second = meter.costs
    assert second.descriptors == first.descriptors + 8
    assert first.relative == 2 * first.processor >= 0 and first.memory > 10


def test_finished_hand_overs_that_change_are_seen(copy, tmp_path):
    killed = object.__new__(_soak_kills.KilledRun)
    killed.work_dir, killed.finished, killed.faults = copy, {}, []
    killed._check_hand_overs()
    assert killed.faults == [] and len(killed.finished) == 2
    change_tensor(copy)
    (copy / 'step_1' / 'step_1.pth').unlink()
    killed._check_hand_overs()
    assert killed.faults == ['step_0.pth has changed', 'step_1.pth has disappeared']


def test_a_killed_call_takes_all_it_has_started_with_it(tmp_path):
    training = object.__new__(_soak_processes.Training)
    training.mark, training.log, training.begin = 'mark of this test', tmp_path / 'log', 0
    # Like torchrun's workers: a session of its own.
    command = 'setsid sleep 60 & echo started; echo "ValueError: no"; wait'
    with training.log.open('w') as out:
        training.process = subprocess.Popen(['bash', '-c', command], stdout=out, start_new_session=True,
                                            env=dict(os.environ, **{_soak_processes.MARK: training.mark}))
    training.started = 0
    while len(training._processes()) < 2 or 'no' not in training.output():
        assert training.wait(0.01) is None
    training.kill()
    assert training._processes() == [] and training.process.returncode == -9
    assert training.error() == 'ValueError: no'


def test_the_table_and_the_exit_status(monkeypatch, capsys):
    rows = dict(passed=[Row('a', 'b|c', soak.judged('a', 'b', []).outcome, 'd')], left=[Row('a', 'b', soak.NOT_RUN)],
                failed=[soak.judged('a', 'b', ['x', 'y'])])

    def broken(root):
        raise KeyError('k')
    for name, status in (('passed', 0), ('left', 0), ('failed', 1), ('broken', 1)):
        monkeypatch.setattr(soak, 'parts', lambda args: dict(nan=broken if name == 'broken' else lambda root: rows[name]))
        assert soak.main(['nan']) == status
    told = capsys.readouterr().out
    assert '| a | b\\|c | passed | d |' in told and '1 cases: 0 failed, 1 not run.' in told
    assert '| a | b | FAILED | x; y |' in told and "| nan | the check itself | FAILED | KeyError: 'k' |" in told


def test_options():
    quick, long = soak.parse(['all', '--quick']), soak.parse(['kills', '--kills', '5'])
    assert (quick.kills, quick.steps, quick.methods, quick.processes) == (3, 16, ['plop'], [1])
    assert (long.kills, long.steps, long.methods, long.processes) == (5, 40, ['plop', 'ssul_m', 'online_em'], [1, 2])
    assert list(soak.parts(long)) == list(soak.PARTS)
    for wrong in (['growth', '--steps', '10'], ['kills', '--kills', '0'], ['absent']):
        with pytest.raises(SystemExit):
            soak.parse(wrong)


@pytest.mark.parametrize('method', ['plop', 'ssul_m', 'reminder_m', 'online_em'])
def test_configs_are_of_three_steps(tmp_path, method):
    config = _soak_runs.make_config(tmp_path, tmp_path / 'run', method)
    assert [len(split.entering) for split in build_scenario(config)] == [3, 1, 1]


def test_each_class_has_images_and_a_colour(tmp_path):
    root = _soak_runs.write_data(tmp_path, classes=41, train=82, val=1)
    assert len(list((root / 'images' / 'train').iterdir())) == 82
    seen = {int(value) for index in range(82) for value in set(_soak_runs.labels_of(index, 41).flatten())}
    assert seen == {0, 255, *range(1, 42)}
    assert len({tuple(colour) for colour in _soak_runs.colours(41)}) == 42
