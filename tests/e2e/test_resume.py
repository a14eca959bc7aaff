"""Runs that go on, start from another one's step 0, or are refused."""
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from mmcss.engine import ContinualRunner
from mmcss.files import read_json, write_json
from mmcss.models import hand_over, hand_over_meta, load_hand_over
from tests.e2e.running import ROOT, assert_equal_states, run, state
from tests.tiny import MIB, tiny_config


def stop(cfg, tmp_path, kill):
    """Run a config whose StopHook ends it."""
    if not kill:
        with pytest.raises(KeyboardInterrupt):
            run(cfg)
        return
    cfg.custom_imports = dict(imports=['mmcss', 'stop_hook'], allow_failed_imports=False)
    cfg.dump(tmp_path / 'config.py')
    paths = os.pathsep.join([str(ROOT / 'tests' / 'e2e'), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run([sys.executable, str(ROOT / 'tools' / 'train.py'), str(tmp_path / 'config.py')],
                          capture_output=True, env=dict(os.environ, PYTHONPATH=paths))
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.parametrize('workers, kill', [(0, False), (2, True)])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(tiny_data, tmp_path, workers, kill):
    scenario = dict(base=3, increment=1)
    run(tiny_config(tiny_data, tmp_path / 'whole', workers, scenario=scenario))
    stopped = tiny_config(tiny_data, tmp_path / 'stopped', workers, scenario=scenario)
    stopping = stopped.copy()
    stopping.custom_hooks = [dict(type='StopHook', step=1, iteration=3, kill=kill)]  # in the second epoch of step 1
    stop(stopping, tmp_path, kill)
    assert not (tmp_path / 'stopped' / 'step_1' / 'step_1.pth').exists()
    before = (tmp_path / 'stopped' / 'step_0' / 'step_0.pth').stat().st_mtime_ns
    stopped.resume = True
    run(stopped)
    assert (tmp_path / 'stopped' / 'step_0' / 'step_0.pth').stat().st_mtime_ns == before  # finished steps are kept
    for step in range(2):
        assert_equal_states(state(tmp_path / 'whole', step), state(tmp_path / 'stopped', step))
    assert read_json(tmp_path / 'whole' / 'results.json')['matrix'] == \
        read_json(tmp_path / 'stopped' / 'results.json')['matrix']


@HOOKS.register_module()
class StopInValidation(Hook):
    """Ends a run as the last epoch is about to be validated."""

    def before_val_epoch(self, runner):
        if runner.epoch == runner.max_epochs:
            raise KeyboardInterrupt


def test_the_best_weights_of_a_run_that_was_stopped_in_a_validation(tiny_data, tmp_path):
    """Its checkpoint was saved before, and does not know what the validation would have found."""

    def config(name, **changes):
        cfg = tiny_config(tiny_data, tmp_path / name, scenario=dict(base=4, increment=1), val_cfg=dict(type='ValLoop'),
                          val_evaluator=[dict(type='IoUMetric', iou_metrics=['mIoU'])],
                          train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1), **changes)
        cfg.val_dataloader = cfg.test_dataloader
        cfg.default_hooks.checkpoint.update(save_best='mIoU', rule='greater')
        return cfg

    run(config('whole'), hand_over='best')
    with pytest.raises(KeyboardInterrupt):
        run(config('stopped', custom_hooks=[dict(type='StopInValidation')]), hand_over='best')
    assert not list((tmp_path / 'stopped').glob('step_0/best_*.pth'))
    run(config('stopped', resume=True), hand_over='best')
    assert_equal_states(state(tmp_path / 'whole', 0), state(tmp_path / 'stopped', 0))


def test_a_moved_folder_resumes(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'first')
    cfg.custom_hooks = [dict(type='StopHook', step=0, iteration=2)]
    with pytest.raises(KeyboardInterrupt):
        run(cfg)
    (tmp_path / 'first').rename(tmp_path / 'second')
    cfg = tiny_config(tiny_data, tmp_path / 'second', resume=True, log_level='INFO')
    assert len(run(cfg, steps='0')['steps']) == 1
    log = ''.join(path.read_text() for path in (tmp_path / 'second').glob('step_0/*/*.log'))
    assert 'resumed epoch: 1, iter: 2' in log


def test_resume_trains_what_stems_from_an_older_step(tiny_data, tmp_path, capsys, monkeypatch):
    reads, check = [], hand_over.check_hand_over
    monkeypatch.setattr(hand_over, 'check_hand_over', lambda path: (reads.append(path.name), check(path))[1])
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1))
    run(cfg)
    assert reads == ['step_0.pth', 'step_1.pth']  # once: for the test, and as what the next step grows from
    marks = [load_hand_over(tmp_path / f'step_{k}' / f'step_{k}.pth')['meta'] for k in range(2)]
    assert [mark['parent'] for mark in marks] == [None, marks[0]['id']]
    # The same training gives the same weights, on top of which step 1 still stands.
    assert len(run(cfg, steps='0', overwrite=True)['steps']) == 2
    cfg.randomness.seed = 3
    run(cfg, steps='0', overwrite=True)  # trained anew: what was made from the old one is stale
    assert len(read_json(tmp_path / 'results.json')['steps']) == 1
    cfg.resume = True
    capsys.readouterr()
    assert len(run(cfg)['steps']) == 2
    assert 'note: step 1 was trained on top of another step 0 than the one that is there now' in capsys.readouterr().out
    again = [load_hand_over(tmp_path / f'step_{k}' / f'step_{k}.pth')['meta'] for k in range(2)]
    assert again[1]['id'] != marks[1]['id'] and again[1]['parent'] == again[0]['id']
    moved = sorted(hand_over_meta(path)['id'] for path in tmp_path.glob('replaced/*/step_*/step_*.pth'))
    assert {mark['id'] for mark in marks} <= set(moved)  # nothing that was finished is lost


def test_resume_after_the_end_does_nothing(plop_run, tiny_data, capsys):
    work_dir, results = plop_run
    cfg = tiny_config(tiny_data, work_dir, resume=True)
    before = {path: path.stat().st_mtime_ns for path in work_dir.rglob('step_*.pth')}
    assert run(cfg) == results
    assert {path: path.stat().st_mtime_ns for path in work_dir.rglob('step_*.pth')} == before
    assert capsys.readouterr().out.count('is finished; skipped') == 3


@pytest.mark.parametrize('change', [dict(scenario=dict(base=2, increment=1, class_order=[4, 3, 2, 1])),
                                    dict(scenario=dict(base=2, increment=1, regime='disjoint')), dict(continual=MIB)])
def test_resume_of_another_run_is_refused(plop_run, tiny_data, change):
    work_dir, _ = plop_run
    with pytest.raises(ValueError, match='was trained with another scenario or method'):
        run(tiny_config(tiny_data, work_dir, resume=True, **change))


def test_another_protocol_is_judged_anew(plop_run, tiny_data, tmp_path):
    work_dir, results = plop_run
    shutil.copytree(work_dir, tmp_path / 'copy')
    cfg = tiny_config(tiny_data, tmp_path / 'copy', resume=True, protocol=dict(background=False))
    again = run(cfg)
    assert again['protocol'] == dict(future='background', background=False, images='seen', absent='stock')
    assert (again['profile'], again['protocol_name'], results['protocol_name']) == ('paper', 'custom', 'default')
    assert results['protocol']['background'] is True
    assert all(value is None for value in again['matrix']['background'])
    assert state(work_dir, 2).keys() == state(tmp_path / 'copy', 2).keys()


def test_what_is_to_do(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run

    def to_do(folder, **options):
        runner = ContinualRunner.from_cfg(tiny_config(tiny_data, folder, **options))
        return runner.progress.intents()

    assert to_do(tmp_path) == to_do(work_dir) == ['train'] * 3
    assert to_do(tmp_path, run=dict(steps='1')) == ['-', 'train', '-']
    assert to_do(work_dir, resume=True) == ['finished'] * 3
    assert to_do(work_dir, resume=True, protocol='mib') == ['test'] * 3
    assert to_do(tmp_path, run=dict(first_step_from=str(work_dir), steps='1-2')) == ['take over', 'train', 'train']
    shutil.copytree(work_dir, tmp_path / 'copy')
    (tmp_path / 'copy' / 'step_1' / 'step_1.pth').unlink()
    assert to_do(tmp_path / 'copy', resume=True) == ['finished', 'go on', 'train']


def test_a_first_step_that_is_not_there(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'work', run=dict(first_step_from=str(tmp_path / 'gone')))
    with pytest.raises(FileNotFoundError, match='--first-step-from: .*gone.* does not exist'):
        ContinualRunner.from_cfg(cfg).plan()


def test_what_has_changed_since_a_step_was_begun_is_told(plop_run, tiny_data, capsys):
    work_dir, _ = plop_run
    cfg = tiny_config(tiny_data, work_dir, resume=True)
    cfg.train_cfg.max_epochs = 7
    cfg.model.decode_head.channels = 4
    run(cfg)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith('note')]
    assert told == [line for step in range(3) for line in (
        f'note: step {step} was begun with another model.decode_head.channels: 16 -> 4',
        f'note: step {step} was begun with another train_cfg.max_epochs: 3 -> 7')]


def test_a_step_on_top_of_another_run_s_is_refused(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    shutil.copytree(work_dir, tmp_path / 'copy')
    disjoint = tiny_config(tiny_data, tmp_path / 'copy', scenario=dict(base=2, increment=1, regime='disjoint'))
    with pytest.raises(ValueError, match="step_0.pth was trained in the regime 'overlapped', this scenario is 'disjoint'"):
        run(disjoint, steps='1')
    with pytest.raises(ValueError, match=r"step_1 was trained with another scenario or method: \['method'\]"):
        run(tiny_config(tiny_data, tmp_path / 'copy', continual=MIB), steps='2')
    binary = dict(loss_decode=dict(type='BinaryCrossEntropyLoss', classes='all'))
    with pytest.raises(ValueError, match='step_0.pth was trained with loss_decode=None, this method trains step 0 with'):
        run(tiny_config(tiny_data, tmp_path / 'copy', continual=binary), steps='1')
    # Step 0 is the same.
    assert run(tiny_config(tiny_data, tmp_path / 'copy', continual=MIB), steps='1', overwrite=True)['steps']


def test_a_step_on_top_of_one_that_is_half_taken_over_is_refused(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    shutil.copytree(work_dir / 'step_0', tmp_path / 'step_0')
    noted = read_json(tmp_path / 'step_0' / 'step.json')
    write_json(tmp_path / 'step_0' / 'step.json', dict(noted, unfinished=True))
    with pytest.raises(ValueError, match='was stopped before it had finished; take it over again: --resume --step 0'):
        run(tiny_config(tiny_data, tmp_path), steps='1')


def test_weights_to_begin_with(plop_run, tiny_data, tmp_path):
    """They are those of step 0 before its first update, and of nothing else."""
    work_dir, _ = plop_run
    weights = work_dir / 'step_0' / 'step_0.pth'
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=2, increment=1), load_from=str(weights))
    for step, expected in ((0, str(weights)), (1, None), (2, None)):
        assert ContinualRunner.from_cfg(cfg).configs[step].load_from == expected
    cfg.optim_wrapper.optimizer.lr = 0.
    results = run(cfg, steps='0')
    names = [name for name, _ in bare_parameters(state(work_dir, 0))]
    assert all(torch.equal(state(work_dir, 0)[name], state(tmp_path, 0)[name]) for name in names) and len(names) > 20
    other = tiny_config(tiny_data, tmp_path, load_from=str(work_dir / 'step_0' / 'gone.pth'))
    assert ContinualRunner.from_cfg(other).test()['steps'] == results['steps']


def bare_parameters(weights):
    return [(name, value) for name, value in weights.items() if name.endswith(('weight', 'bias'))]


def test_testing_what_is_trained(plop_run, tiny_data, tmp_path, capsys):
    work_dir, results = plop_run
    shutil.copytree(work_dir, tmp_path / 'copy')
    shutil.rmtree(tmp_path / 'copy' / 'step_2')
    again = ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path / 'copy')).test()
    assert again['steps'] == results['steps'][:2] and len(read_json(tmp_path / 'copy' / 'results.json')['steps']) == 2
    assert 'note: of the steps 0 to 2 only [0, 1] are trained.' in capsys.readouterr().out
    only = tiny_config(tiny_data, tmp_path / 'copy', run=dict(steps='2'))
    with pytest.raises(FileNotFoundError, match=r'has none of the steps 2 to 2; it has \[0, 1\]'):
        ContinualRunner.from_cfg(only).test()


def test_testing_some_steps_under_another_protocol_leaves_the_results(plop_run, tiny_data, tmp_path, capsys):
    """They are of one protocol; what was tested is printed."""
    work_dir, _ = plop_run
    shutil.copytree(work_dir, tmp_path / 'copy')
    before = (tmp_path / 'copy' / 'results.json').read_bytes()
    for steps, left in (('1', [0, 2]), ('0', [2])):
        cfg = tiny_config(tiny_data, tmp_path / 'copy', protocol='mib', run=dict(steps=steps))
        assert ContinualRunner.from_cfg(cfg).test() == {}
        told = capsys.readouterr().out
        assert f'note: the steps {left} have no result under this protocol' in told and f'| {steps}    |' in told
        assert (tmp_path / 'copy' / 'results.json').read_bytes() == before
    cfg = tiny_config(tiny_data, tmp_path / 'copy', protocol='mib', run=dict(steps='2'))
    assert ContinualRunner.from_cfg(cfg).test()['protocol_name'] == 'mib'
    assert len(read_json(tmp_path / 'copy' / 'results.json')['steps']) == 3


def test_testing_again_gives_the_same_results(plop_run, tiny_data):
    work_dir, results = plop_run
    for step in range(3):
        (work_dir / f'step_{step}' / 'result.json').unlink()
    assert ContinualRunner.from_cfg(tiny_config(tiny_data, work_dir)).test() == results


def test_first_step_of_another_run(plop_run, tiny_data, tmp_path):
    work_dir, results = plop_run
    mib = run(tiny_config(tiny_data, tmp_path, continual=MIB), first_step_from=str(work_dir))
    assert_equal_states(state(work_dir, 0), state(tmp_path, 0))
    assert mib['steps'][0]['mIoU'] == results['steps'][0]['mIoU']
    assert len(mib['steps']) == 3


def test_later_steps_from_the_first_step_of_another_run(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    results = run(tiny_config(tiny_data, tmp_path), steps='1', first_step_from=str(work_dir / 'step_0' / 'step_0.pth'))
    assert [step['step'] for step in results['steps']] == [0, 1]
    assert_equal_states(state(work_dir, 1), state(tmp_path, 1))


def test_its_own_first_step_is_refused(plop_run, tiny_data):
    work_dir, _ = plop_run
    with pytest.raises(ValueError, match='belongs to this run itself'):
        run(tiny_config(tiny_data, work_dir), steps='0', first_step_from=str(work_dir))
    assert (work_dir / 'step_0' / 'step_0.pth').is_file()


def test_first_step_of_another_scenario_is_refused(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    other = tiny_config(tiny_data, tmp_path, scenario=dict(type='ClassIncremental', base=3, increment=1))
    with pytest.raises(ValueError, match='of another scenario or step: got 3 classes'):
        run(other, first_step_from=str(work_dir))


def test_first_step_of_another_loss_is_refused(plop_run, tiny_data, tmp_path):
    sigmoids = dict(loss_decode=dict(type='BinaryCrossEntropyLoss'), losses=dict(kd=dict(type='BinaryDistillation')))
    with pytest.raises(ValueError, match='was trained with loss_decode=None, this method trains step 0 with'):
        run(tiny_config(tiny_data, tmp_path, continual=sigmoids), steps='0', first_step_from=str(plop_run[0]))


def test_first_step_of_another_average_is_told(plop_run, tiny_data, tmp_path, capsys):
    run(tiny_config(tiny_data, tmp_path, continual=dict(average='all')), steps='0', first_step_from=str(plop_run[0]))
    assert "was trained with average='valid', this method trains step 0 with 'all'" in capsys.readouterr().out


def test_a_step_without_the_one_before_is_refused(tiny_data, tmp_path):
    with pytest.raises(FileNotFoundError, match='first train the step that writes it'):
        run(tiny_config(tiny_data, tmp_path), steps='1')


def test_a_truncated_hand_over_is_refused(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    whole = (work_dir / 'step_0' / 'step_0.pth').read_bytes()
    (tmp_path / 'step_0').mkdir()
    (tmp_path / 'step_0' / 'step_0.pth').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match='truncated or of another kind'):
        run(tiny_config(tiny_data, tmp_path), steps='1')
