"""Steps that replay what earlier ones have left."""
import shutil

import numpy as np
import pytest

import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from mmcss.memory import Memory
from mmcss.files import read_json, write_json
from mmcss.session.part_states import load_state
from tests.e2e.running import assert_equal_states, run, state, together
from tests.tiny import CLASSES, MIB, PLOP, REMINDER_M, SSUL_M, make_data, tiny_config


def remembered(work_dir, step):
    return Memory.load(work_dir / f'step_{step}' / 'memory.json').exemplars


@pytest.fixture(scope='module')
def ssul_m_run(tiny_data, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('ssul_m')
    run(tiny_config(tiny_data, work_dir, continual=SSUL_M))
    return work_dir


def test_each_step_leaves_a_memory_of_all_classes_so_far(ssul_m_run):
    for step, classes in enumerate((2, 3, 4)):
        exemplars = remembered(ssul_m_run, step)
        assert len(exemplars) == 4
        assert {name for one in exemplars for name in one.holds} == set(CLASSES[1:classes + 1])


def test_what_is_frozen_is_bit_equal_after_all_steps(ssul_m_run):
    """All but three rows of the classifier, statistics of norm layers too."""
    first, second, third = (state(ssul_m_run, step) for step in range(3))
    rows = ('decode_head.conv_seg.weight', 'decode_head.conv_seg.bias')
    for before, after, num_old in ((first, second, 3), (second, third, 4)):
        assert_equal_states({k: v for k, v in before.items() if k not in rows},
                            {k: v for k, v in after.items() if k not in rows})
        for name in rows:
            assert (before[name][1:num_old] == after[name][1:num_old]).all()  # old classes
            assert (before[name][0] != after[name][0]).any()  # background
            assert (before[name][-1] != after[name][-1]).any()  # unknown


def test_a_stopped_and_resumed_run_with_memory_equals_the_uninterrupted_one(ssul_m_run, tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, continual=SSUL_M)
    stopping = cfg.copy()
    stopping.custom_hooks = [dict(type='StopHook', step=1, iteration=3)]
    with pytest.raises(KeyboardInterrupt):
        run(stopping)
    cfg.resume = True
    run(cfg)
    for step in range(3):
        assert_equal_states(state(tmp_path, step), state(ssul_m_run, step))
        assert remembered(tmp_path, step) == remembered(ssul_m_run, step)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['ssul_m', 'mib_m'])
def test_copies_outlive_the_data_that_they_were_made_from(tmp_path, method):
    """Steps 0 and 1 are trained, then every image that step 2 has no business with is deleted."""
    data = make_data(tmp_path / 'data')
    method = SSUL_M if method == 'ssul_m' else MIB
    continual = dict(method, memory=dict(size=4, export=True))
    cfg = tiny_config(data, tmp_path / 'run', continual=continual)
    run(cfg, steps='0-1')
    references = tiny_config(data, tmp_path / 'references', continual=dict(method, memory=dict(size=4)))
    run(references)
    white = {i for i in range(12) if 4 in (1 + i % 4, 1 + (i // 2 + 2) % 4)}
    deleted = [f'{i:03d}.png' for i in set(range(12)) - white]
    assert deleted and any(one.name in deleted for one in remembered(tmp_path / 'run', 1))
    for name in deleted:
        (data / 'images' / 'train' / name).unlink()
        (data / 'labels' / 'train' / name).unlink()
    assert len(run(cfg, steps='2')['steps']) == 3
    # The same images with the same labels as references give: the same model.
    assert_equal_states(state(tmp_path / 'run', 2), state(tmp_path / 'references', 2))
    assert [one.name for one in remembered(tmp_path / 'run', 2)] == [one.name for one in remembered(tmp_path / 'references', 2)]


def test_references_to_deleted_images_are_named(tmp_path):
    data = make_data(tmp_path / 'data')
    cfg = tiny_config(data, tmp_path / 'run', continual=dict(MIB, memory=dict(size=4)))
    run(cfg, steps='0-1')
    white = {i for i in range(12) if 4 in (1 + i % 4, 1 + (i // 2 + 2) % 4)}
    gone = next(one.name for one in remembered(tmp_path / 'run', 1) if int(one.name[:3]) not in white)
    for folder in ('images', 'labels'):
        shutil.move(data / folder / 'train' / gone, tmp_path / f'{folder}.png')
    with pytest.raises(FileNotFoundError, match=f'the remembered image {gone} is no longer in'):
        run(cfg, steps='2')


def test_without_a_memory_of_the_step_before_a_step_does_not_start(tiny_data, plop_run, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(PLOP, memory=dict(size=4)))
    shutil.copytree(plop_run[0] / 'step_0', tmp_path / 'step_0')
    with pytest.raises(FileNotFoundError, match='memory.json is missing: .* without continual.memory'):
        run(cfg, steps='1')


@pytest.mark.parametrize('size', [0, 1])
def test_a_memory_of_no_or_one_image(tiny_data, tmp_path, size):
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(MIB, memory=dict(size=size)))
    assert len(run(cfg, steps='0-1')['steps']) == 2
    assert len(remembered(tmp_path, 1)) == size


def test_two_processes_find_what_one_finds(tiny_data, tmp_path):
    """Prototypes, exemplars chosen by features, and thresholds, from one trained step 0."""
    run(tiny_config(tiny_data, tmp_path / 'first', continual={}), steps='0')
    found = []
    for processes in (1, 2):
        work_dir = tmp_path / f'of_{processes}'
        cfg = tiny_config(tiny_data, work_dir, continual=REMINDER_M)
        if processes == 1:
            run(cfg, steps='0-1', first_step_from=str(tmp_path / 'first'))
        else:
            cfg.dump(tmp_path / 'config.py')
            together('train.py', tmp_path / 'config.py', '--step', '0-1', '--first-step-from', tmp_path / 'first')
        found.append((load_state(work_dir / 'step_0' / 'parts' / 'csw_kd.npz').state, remembered(work_dir, 0),
                      load_state(work_dir / 'step_1' / 'parts' / 'targets.npz').state['thresholds']))
    (one, exemplars, thresholds), (two, same_exemplars, same_thresholds) = found
    assert one['prototypes'].shape == (3, 16) and one['prototypes'].any(dim=1).all()
    np.testing.assert_allclose(two['prototypes'], one['prototypes'], rtol=1e-4, atol=1e-6)
    assert same_exemplars == exemplars and len(exemplars) == 5
    np.testing.assert_allclose(same_thresholds, thresholds, rtol=1e-3)


def test_prototypes_and_memory_are_of_the_weights_that_are_handed_over(tiny_data, tmp_path):
    """With an EMA these are the averaged ones; a run that takes the step over finds the same."""
    cfg = tiny_config(tiny_data, tmp_path / 'averaged', continual=REMINDER_M)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    run(cfg, steps='0')
    taken = tiny_config(tiny_data, tmp_path / 'taken', continual=REMINDER_M)
    run(taken, steps='0', first_step_from=str(tmp_path / 'averaged'))
    ours, theirs = (load_state(tmp_path / name / 'step_0' / 'parts' / 'csw_kd.npz').state['prototypes'] for name in ('averaged', 'taken'))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert remembered(tmp_path / 'averaged', 0) == remembered(tmp_path / 'taken', 0)
    # Stopped before it was finished, it is finished when the run goes on.
    folder = tmp_path / 'taken' / 'step_0'
    for name in ('result.json', 'memory.json', 'parts/csw_kd.npz'):
        (folder / name).unlink()
    write_json(folder / 'step.json', dict(read_json(folder / 'step.json'), unfinished=True))
    assert len(run(taken, steps='1', first_step_from=str(tmp_path / 'averaged'))['steps']) == 2
