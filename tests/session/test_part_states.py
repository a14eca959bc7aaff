import os

import numpy as np
import pytest
import torch

from mmcss.parts import Part
from mmcss.session.part_states import PartStates, load_state, save_state

STATES = dict(float=torch.tensor([[1.5, -2.]]), long=torch.tensor(7), flag=torch.tensor([True, False]))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def test_state_survives_the_file(tmp_path):
    save_state(tmp_path / 'part.npz', STATES, 'Counter')
    stored = load_state(tmp_path / 'part.npz')
    assert_same(stored.state, STATES)
    assert (stored.file, stored.part_class) == (tmp_path / 'part.npz', 'Counter')
    assert list(tmp_path.iterdir()) == [tmp_path / 'part.npz']


def test_state_is_written_atomically(tmp_path, monkeypatch):
    path = tmp_path / 'part.npz'
    save_state(path, dict(x=torch.tensor(1)), 'Counter')

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', stop)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, dict(x=torch.tensor(2)), 'Counter')
    assert_same(load_state(path).state, dict(x=torch.tensor(1)))


def test_pickled_state_is_refused(tmp_path):
    np.savez(tmp_path / 'part.npz', x=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle'):
        load_state(tmp_path / 'part.npz')


@pytest.mark.parametrize('content', [b'', b'garbage', b'PK\x03\x04', b'[1]'])
def test_a_damaged_state_is_named(tmp_path, content):
    (tmp_path / 'part.npz').write_bytes(content)
    with pytest.raises(ValueError, match=r'part\.npz is damaged, or was left by another method .* train its step anew'):
        load_state(tmp_path / 'part.npz')


def test_a_step_before_without_the_part_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"csw\.npz is missing: .* without the part 'csw'"):
        PartStates(str(tmp_path / 'step_0.pth')).previous('csw')


def test_states_in_memory():
    """A part without state leaves none; what another method left says so."""
    left, part = PartStates(), Part()
    left.keep('silent', part)
    part.state_dict = lambda: STATES
    left.keep('a', part)
    assert list(left.states) == ['a'] and left.before is None
    states = PartStates(left.states)
    assert states.previous('a') == (STATES, None, '') and states.begun('a') is None
    with pytest.raises(ValueError, match="the step before has left nothing of the part 'b'. Give its StepSession"):
        states.previous('b')
