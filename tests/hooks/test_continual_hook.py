import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmcss.hooks import ContinualHook
from mmcss.hooks.continual_hook import load_state, previous_state, save_state
from mmcss.parts import Part, overrides

STATES = dict(float=torch.tensor([[1.5, -2.]]), long=torch.tensor(7), flag=torch.tensor([True, False]))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def test_state_survives_the_file(tmp_path):
    save_state(tmp_path / 'part.npz', STATES)
    assert_same(load_state(tmp_path / 'part.npz'), STATES)
    assert [path.name for path in tmp_path.iterdir()] == ['part.npz']


def test_state_is_written_atomically(tmp_path, monkeypatch):
    path = tmp_path / 'part.npz'
    save_state(path, dict(x=torch.tensor(1)))

    def stop(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'replace', stop)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, dict(x=torch.tensor(2)))
    assert_same(load_state(path), dict(x=torch.tensor(1)))


def test_pickled_state_is_refused(tmp_path):
    np.savez(tmp_path / 'part.npz', x=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle'):
        load_state(tmp_path / 'part.npz')


class Thresholds(Part):
    """A part that looks at the data before and after training and counts its looks."""

    def __init__(self):
        self.looks = []
        self.value = torch.zeros(())

    def before_step(self, split, batches):
        self.looks.append(('before', split, batches.student))
        self.value = torch.tensor(1.)

    def after_step(self, split, batches):
        self.looks.append(('after', split, batches.student))
        self.value = self.value + 1

    def state_dict(self):
        return dict(value=self.value)

    def load_previous(self, state):
        self.looks.append(('previous', state['value'].item()))

    def load_state_dict(self, state):
        self.value = state['value']


def step(folder, resume=False, previous=None, **parts):
    """A runner as far as the hook looks at it."""
    observers = {name: part for name, part in parts.items() if overrides(part, 'after_step')}
    model = SimpleNamespace(split='the split', method=SimpleNamespace(parts=parts, observers=observers),
                            previous=previous, buffers=list)
    return SimpleNamespace(model=model, work_dir=str(folder), _resume=resume, hooks=(), logger=logging.getLogger('test'))


def test_moments_of_a_part_and_its_state(tmp_path):
    part, hook = Thresholds(), ContinualHook()
    runner = step(tmp_path, part=part, silent=Part())
    hook.before_train(runner)
    assert part.looks == [('before', 'the split', False)]
    assert_same(load_state(tmp_path / 'part.npz'), dict(value=torch.tensor(1.)))
    hook.after_train(runner)
    assert part.looks[1:] == [('after', 'the split', True)]
    assert_same(load_state(tmp_path / 'part.npz'), dict(value=torch.tensor(2.)))
    assert [path.name for path in tmp_path.iterdir()] == ['part.npz']  # a part without state leaves no file


def test_resumed_run_reads_what_was_found_before(tmp_path):
    ContinualHook().before_train(step(tmp_path, part=Thresholds()))
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path, resume=True, part=part))
    assert part.looks == [] and part.value == 1


@pytest.mark.parametrize('resume, left_over', [(True, False), (False, True)])
def test_looks_again_where_nothing_was_found_or_the_run_starts_anew(tmp_path, resume, left_over):
    if left_over:
        save_state(tmp_path / 'part.npz', dict(value=torch.tensor(9.)))
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path, resume=resume, part=part))
    assert [look[0] for look in part.looks] == ['before'] and part.value == 1


def test_a_part_takes_over_what_the_step_before_left(tmp_path):
    save_state(tmp_path / 'part.npz', dict(value=torch.tensor(7.)))
    (tmp_path / 'step_1').mkdir()
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path / 'step_1', previous=str(tmp_path / 'step_0.pth'), part=part, silent=Part()))
    assert part.looks == [('previous', 7.), ('before', 'the split', False)]


def test_a_step_before_without_the_part_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"csw\.npz is missing: .* without the part 'csw'"):
        previous_state(str(tmp_path / 'step_0.pth'), 'csw')
