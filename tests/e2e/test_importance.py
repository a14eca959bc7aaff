"""EWC, PI and RW over whole scenarios: what steps leave to each other, resume, several processes."""
import json
from pathlib import Path

import pytest

import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from mmcss.files import read_json
from mmcss.session.part_states import load_state
from tests.e2e.running import assert_equal_states, run, state, together
from tests.tiny import tiny_config

TYPES = dict(ewc='ElasticWeightConsolidation', pi='PathIntegral', rw='RiemannianWalk')


def method(name, **options):
    return dict(losses={name: dict(type=TYPES[name], **options)})


def importance(work_dir, step, name):
    """What a part left beside the hand-over of a step."""
    return load_state(Path(work_dir) / f'step_{step}' / 'parts' / f'{name}.npz').state


def told(work_dir, step, name):
    """The penalty and the loss in the log of a step."""
    log = next((Path(work_dir) / f'step_{step}').glob('*/vis_data/scalars.json')).read_text()
    entries = [json.loads(line) for line in log.splitlines()]
    return [(entry.get(f'loss_{name}'), entry['loss'], entry['decode.loss_ce']) for entry in entries if 'loss' in entry]


def moved(work_dir, step):
    """How far the body of a step's model is from that of the step before."""
    new, old = state(work_dir, step), state(work_dir, step - 1)
    return sum((new[name] - old[name]).square().sum() for name in old if name.startswith('backbone')
               and name.endswith('conv1.weight')).sqrt().item()


@pytest.mark.slow
def test_three_steps_of_ewc(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'ewc', continual=method('ewc', loss_weight=20.))
    cfg.default_hooks.logger.interval = 1
    assert len(run(cfg)['steps']) == 3
    plain = tiny_config(tiny_data, tmp_path / 'plain', continual=method('ewc', loss_weight=0.))
    run(plain, steps='0-1')
    assert_equal_states(state(tmp_path / 'ewc', 0), state(tmp_path / 'plain', 0))  # nothing is held at step 0
    assert moved(tmp_path / 'ewc', 1) < moved(tmp_path / 'plain', 1)
    for step in range(3):
        found = importance(tmp_path / 'ewc', step, 'ewc')
        weights = state(tmp_path / 'ewc', step)
        assert {key: value.shape for key, value in found.items()} == {
            f'fisher/{name}': weights[name].shape for name in weights
            if not name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))}
        assert len(found['fisher/decode_head.conv_seg.bias']) == 3 + step
        assert all(value.isfinite().all() and value.any() for value in found.values())
        entries = told(tmp_path / 'ewc', step, 'ewc')
        penalties = [penalty for penalty, _, _ in entries]
        if step == 0:
            assert set(penalties) == {None}
        else:
            assert penalties[0] == 0 < penalties[-1]
            for penalty, loss, decode in entries:
                assert loss == pytest.approx(penalty + decode, rel=1e-4)


@pytest.mark.slow
@pytest.mark.stack
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(tiny_data, tmp_path):
    """RW has the most to keep; the others' states are resumed in tests/losses."""
    options = dict(continual=method('rw', interval=4), scenario=dict(base=3, increment=1))
    run(tiny_config(tiny_data, tmp_path / 'whole', **options))
    stopped = tiny_config(tiny_data, tmp_path / 'stopped', **options)
    for step in range(2):
        stopping = stopped.copy()
        stopping.custom_hooks = [dict(type='StopHook', step=step, iteration=4)]
        stopping.resume = bool(step)
        with pytest.raises(KeyboardInterrupt):
            run(stopping)
        assert not (tmp_path / 'stopped' / f'step_{step}' / 'parts' / 'rw.npz').exists()
    stopped.resume = True
    run(stopped)
    for step in range(2):
        assert_equal_states(state(tmp_path / 'whole', step), state(tmp_path / 'stopped', step))
        assert_equal_states(importance(tmp_path / 'whole', step, 'rw'), importance(tmp_path / 'stopped', step, 'rw'))
    assert read_json(tmp_path / 'whole' / 'results.json')['matrix'] == \
        read_json(tmp_path / 'stopped' / 'results.json')['matrix']


def test_a_first_step_without_importance_is_refused(plop_run, tiny_data, tmp_path):
    """Of another method, of another setting, and a hand-over alone."""
    cfg = tiny_config(tiny_data, tmp_path / 'ewc', continual=method('ewc'))
    with pytest.raises(ValueError, match='was trained without ewc=.*, which gathers at step 0'):
        run(cfg, first_step_from=str(plop_run[0]))
    run(cfg, steps='0')
    other = tiny_config(tiny_data, tmp_path / 'other', continual=method('ewc', alpha=.5))
    with pytest.raises(ValueError, match='was trained without ewc=.*alpha'):
        run(other, first_step_from=str(tmp_path / 'ewc'))
    (tmp_path / 'ewc' / 'step_0' / 'parts' / 'ewc.npz').unlink()
    with pytest.raises(FileNotFoundError, match=r'ewc\.npz is missing: .* Run that step with this config'):
        run(cfg, steps='1')
    taken = tiny_config(tiny_data, tmp_path / 'taken', continual=method('ewc'))
    with pytest.raises(FileNotFoundError, match=r'ewc\.npz, gathered while step 0 was trained, is not beside step_0\.pth'):
        run(taken, first_step_from=str(tmp_path / 'ewc'))


@pytest.mark.slow
def test_a_first_step_taken_over_is_as_if_trained(tiny_data, tmp_path):
    """One step 0 that all three have watched serves each of them, and methods without."""
    options = dict(scenario=dict(base=3, increment=1))
    three = dict(losses={name: part for one in TYPES for name, part in method(one)['losses'].items()})
    run(tiny_config(tiny_data, tmp_path / 'three', continual=three, **options), steps='0')
    for name in ('ewc', 'rw'):
        run(tiny_config(tiny_data, tmp_path / name, continual=method(name, loss_weight=7.), **options))
        taken = tiny_config(tiny_data, tmp_path / f'{name}_taken', continual=method(name, loss_weight=7.), **options)
        run(taken, first_step_from=str(tmp_path / 'three'))
        for step in range(2):
            assert_equal_states(state(tmp_path / name, step), state(tmp_path / f'{name}_taken', step))
            assert_equal_states(importance(tmp_path / name, step, name), importance(tmp_path / f'{name}_taken', step, name))
    assert not (tmp_path / 'rw_taken' / 'step_0' / 'parts' / 'ewc.npz').exists()
    run(tiny_config(tiny_data, tmp_path / 'plain', continual={}, **options), steps='0',
        first_step_from=str(tmp_path / 'three'))
    assert_equal_states(state(tmp_path / 'plain', 0), state(tmp_path / 'three', 0))


def test_two_processes(tiny_data, tmp_path):
    """One of them writes what the next step gets."""
    cfg = tiny_config(tiny_data, tmp_path / 'two', continual=method('rw', interval=2),
                      scenario=dict(base=3, increment=1))
    cfg.dump(tmp_path / 'config.py')
    together('train.py', tmp_path / 'config.py')
    assert len(read_json(tmp_path / 'two' / 'results.json')['steps']) == 2
    for step in range(2):
        found = importance(tmp_path / 'two', step, 'rw')
        assert {key.partition('/')[0] for key in found} == {'fisher', 'score'}
        assert all(value.isfinite().all() and (value >= 0).all() for value in found.values())
        assert all(value.any() for key, value in found.items() if key.startswith('fisher'))
    assert len(found['score/decode_head.conv_seg.bias']) == 5
