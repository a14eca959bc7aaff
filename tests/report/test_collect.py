import json
import shutil

import pytest

from mmcss.files import read_json, write_json
from mmcss.report import read_runs
from tests.report.work_dirs import PALETTE, make_run


def test_a_run(tmp_path):
    run, = read_runs([(None, make_run(tmp_path / 'plop', seed=7))])
    assert (run.name, run.method, run.seed, run.scenario) == ('plop', 'plop', 7, '1-1 classes, overlapped')
    assert run.scores == dict(old=37.5, new=71.43, all=48.81, average=61.335, forgetting=36.3636)
    first, last = run.steps
    assert (first.entering, last.entering) == (('background', 'disc'), ('star', ))
    assert first.means == dict(old=73.86, new=None, all=73.86) and last.num_test_images == 6
    assert last.iou == (56.25, 18.75, 71.4286) and last.accuracy == (90., 30., 75.)
    assert last.colours == tuple(map(tuple, PALETTE)) and run.colours['disc'] == (230, 25, 75)
    assert last.confusion.tolist() == [[90, 10, 0], [60, 30, 10], [0, 50, 150]]
    assert [entry['loss'] for entry in first.training] == [2., 1., 2. / 3]
    assert (last.seconds, last.memory, last.versions) == (180., 2048, dict(mmcss='0.1.0', torch='2.9.0'))
    assert last.config == 'randomness = dict(seed=7)\n'


def test_a_resumed_log_has_each_iteration_once(tmp_path):
    vis_data = make_run(tmp_path / 'a') / 'step_0' / '20260101_130000' / 'vis_data'
    vis_data.mkdir(parents=True)
    (vis_data / 'scalars.json').write_text('{"loss": 9.0, "step": 3}\n{"loss": 8.0, "step": 4}\n')
    run, = read_runs([(None, tmp_path / 'a')])
    assert [entry['loss'] for entry in run.steps[0].training] == [2., 1., 9., 8.]


def test_names_tell_runs_apart_and_methods_unite_them(tmp_path):
    a = make_run(tmp_path / 'plop' / 'seed0')
    b = make_run(tmp_path / 'plop' / 'seed1', entering=(('background', 'star'), ('disc', )), seed=1)
    c = make_run(tmp_path / 'mib' / 'seed0', method=dict(new_rows='background'))
    found = read_runs([(None, a), (None, b), (None, c)])
    assert [(run.name, run.method) for run in found] == [
        ('plop/seed0', 'plop/seed0'), ('plop/seed1', 'plop/seed0'), ('mib/seed0', 'mib/seed0')]
    named = read_runs([('PLOP', a), ('PLOP', b), ('MiB', c)])
    assert [(run.name, run.method) for run in named] == [
        ('PLOP (plop/seed0)', 'PLOP'), ('PLOP (plop/seed1)', 'PLOP'), ('MiB', 'MiB')]
    with pytest.raises(ValueError, match='seed0 twice; give each run once'):
        read_runs([('x', a), ('y', a)])


def test_a_run_of_an_earlier_version(tmp_path):
    """Without confusion, palette, times and logs; with a stated result alone, the rest of the page stands."""
    folder = make_run(tmp_path / 'old')
    for step in (0, 1):
        shutil.rmtree(folder / f'step_{step}')
    run, = read_runs([(None, folder)])
    assert (run.seed, run.last.iou, run.last.confusion) == (None, (56.25, 18.75, 71.4286), None)
    assert (run.last.colours, run.last.training, run.last.seconds, run.last.memory) == ((), (), None, None)


def test_a_result_of_another_test_is_not_taken(tmp_path):
    path = make_run(tmp_path / 'a') / 'step_1' / 'result.json'
    result = read_json(path)
    write_json(path, dict(result, protocol=dict(result['protocol'], images='all'), IoU=[1., 2., 3.]))
    run, = read_runs([(None, tmp_path / 'a')])
    assert run.last.iou == (56.25, 18.75, 71.4286) and run.last.confusion is None


def test_classes_that_are_not_scored_have_no_value(tmp_path):
    folder = make_run(tmp_path / 'a')
    path = folder / 'step_1' / 'result.json'
    write_json(path, dict(read_json(path), scored=[False, True, True]))
    run, = read_runs([(None, folder)])
    assert run.last.iou == (None, 18.75, 71.4286) and run.last.accuracy == (None, 30., 75.)


def test_a_folder_without_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=f'there is no {tmp_path}/results.json: .* no work_dir of a run, or none'):
        read_runs([(None, tmp_path)])
    (tmp_path / 'results.json').write_text(json.dumps([]))
    with pytest.raises(ValueError, match='results.json is damaged'):
        read_runs([(None, tmp_path)])
