import random
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import get_priority

from mmcss.hooks import ContinualHook, RandomStateHook
from mmcss.random_state import random_state, set_random_state
from tests.test_random_state import draw, own_random_state, through_a_file  # noqa: F401  the fixture acts here too


def runner(*hooks, resume=False, iteration=0, max_iters=99, **loop):
    return SimpleNamespace(hooks=list(hooks), _resume=resume, iter=iteration, max_iters=max_iters,
                           train_loop=SimpleNamespace(**loop))


def saved(hook, path):
    checkpoint = {}
    hook.before_save_checkpoint(runner(), checkpoint)
    return through_a_file(checkpoint, path)


def test_resumed_epoch_draws_as_the_uninterrupted_one(tmp_path):
    hook = RandomStateHook()
    draw()
    hook.after_train_epoch(runner())
    checkpoint = saved(hook, tmp_path / 'epoch_1.pth')
    expected = draw()

    resumed = RandomStateHook()
    resumed.after_load_checkpoint(runner(resume=True), checkpoint)
    draw()  # what building the loaders takes
    resumed.before_train_epoch(runner())
    assert draw() == expected
    second = draw()
    resumed.before_train_epoch(runner())  # only the first epoch is set back
    assert draw() not in (expected, second)


def test_a_loop_that_counts_iterations_draws_on_after_its_loader_has_started():
    """Whose start takes a number; what the first batch takes of the others was taken in the same place before."""
    hook, looping = RandomStateHook(), runner(dataloader_iterator=None)
    hook.after_load_checkpoint(runner(resume=True), dict(random_states=[random_state()]))
    expected, batch = torch.rand(3), random.random()
    hook.before_train_epoch(looping)
    torch.rand(1)
    assert random.random() == batch
    state = random.getstate()
    hook.before_train_iter(looping, 4)
    assert torch.equal(torch.rand(3), expected) and random.getstate() == state
    hook.before_train_iter(looping, 5)  # only once
    assert not torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize('resume, stored', [(False, True), (True, False)])
def test_nothing_is_set_back_without_resume_or_state(resume, stored):
    hook = RandomStateHook()
    checkpoint = dict(random_states=[random_state()]) if stored else {}
    draw()
    hook.after_load_checkpoint(runner(resume=resume), checkpoint)
    before = random_state()
    hook.before_train_epoch(runner())
    numbers = draw()
    set_random_state(before)
    assert draw() == numbers


def test_checkpoints_by_iteration_hold_the_state_of_their_iteration(tmp_path):
    hook = RandomStateHook()
    by_iteration = CheckpointHook(by_epoch=False, interval=2)
    numbers, states = [], None
    for iteration in range(4):
        numbers.append(draw())
        hook.after_train_iter(runner(by_iteration, iteration=iteration), iteration)
        if iteration == 1:
            checkpoint = saved(hook, tmp_path / 'iter_2.pth')
        if iteration == 2:  # no checkpoint is due: nothing new is gathered
            assert hook._states is states
        states = hook._states
    hook.after_load_checkpoint(runner(resume=True), checkpoint)
    hook.before_train_epoch(runner())
    assert draw() == numbers[2]


def test_checkpoints_that_begin_late():
    hook, late = RandomStateHook(), CheckpointHook(by_epoch=False, interval=3, save_begin=2)
    gathered = []
    for iteration in range(9):
        before = hook._states
        hook.after_train_iter(runner(late, iteration=iteration), iteration)
        gathered += [iteration + 1] * (hook._states is not before)
    assert gathered == [2, 5, 8]


def test_the_last_checkpoint_of_a_loop_that_counts_iterations():
    hook, last = RandomStateHook(), CheckpointHook(by_epoch=False, interval=-1, save_last=True)
    for iteration in range(9):
        hook.after_train_iter(runner(last, iteration=iteration, max_iters=9), iteration)
        assert len(hook._states) == (iteration == 8)


def test_checkpoints_by_epoch_gather_nothing_in_between():
    hook = RandomStateHook()
    hook.after_train_iter(runner(CheckpointHook(by_epoch=True, interval=1)), 0)
    assert hook._states == []


def test_validation_leaves_no_trace():
    hook = RandomStateHook()
    state = random_state()
    expected = draw()
    set_random_state(state)
    hook.before_val_epoch(runner())
    draw()
    hook.after_val_epoch(runner(), {})
    assert draw() == expected


def test_acts_after_the_passes_and_before_checkpoints():
    assert get_priority(ContinualHook.priority) < get_priority(RandomStateHook.priority)
    assert get_priority(RandomStateHook.priority) < get_priority(CheckpointHook.priority)
