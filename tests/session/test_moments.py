import re
from types import SimpleNamespace

import pytest
import torch

from mmcss.models import Method
from mmcss.parts import Part
from mmcss.session import Moments, PartStates
from mmcss.session.part_states import StoredState
from tests.models.makers import make_split


class Recorder(Part):
    """Notes its moments."""

    from_first_step = True
    per_class = {'rows': 0}

    def __init__(self, name, log):
        self.name = name
        self.log = log

    def _note(self, *what):
        self.log.append((self.name, *what))

    def attach(self, student, old):
        self._note('attach', dict(old))

    def load_previous(self, state):
        self._note('previous', len(state['rows']))

    def load_state_dict(self, state):
        self._note('resumed', len(state['rows']))

    def before_step(self, split, batches):
        self._note('before_step', batches)

    def before_update(self):
        self._note('before_update')

    def after_step(self, split, batches):
        self._note('after_step', batches)

    def state_dict(self):
        return dict(rows=torch.zeros(3))


class Resumed(PartStates):
    """A step that was stopped with what ``b`` had."""

    def begun(self, name):
        return StoredState(dict(rows=torch.zeros(5))) if name == 'b' else None


def moments(log, states, step=1):
    split = make_split(3 * (step > 0), 2)
    model = SimpleNamespace(split=split, method=Method(split, losses={name: Recorder(name, log) for name in 'ab'}))
    return Moments(model, lambda name, part, student: (name, part.name, student), states)


def test_moments_in_their_order():
    log, states = [], PartStates(dict(a=dict(rows=torch.zeros(3)), b=dict(rows=torch.zeros(3))))
    made = moments(log, states)
    made.begin(dict(x=1))
    assert log == [('a', 'attach', dict(x=1)), ('b', 'attach', dict(x=1)),
                   ('a', 'previous', 3), ('a', 'before_step', ('a', 'a', False)),
                   ('b', 'previous', 3), ('b', 'before_step', ('b', 'b', False))]
    assert list(states.states) == ['a', 'b']
    log.clear()
    made.before_update()
    made.finish()
    made.finish({})
    assert log == [('a', 'before_update'), ('b', 'before_update'),
                   ('a', 'after_step', ('a', 'a', True)), ('b', 'after_step', ('b', 'b', True))]


def test_nothing_is_taken_over_at_the_first_step():
    log = []
    moments(log, PartStates(), step=0).begin({})
    assert [entry[:2] for entry in log] == [('a', 'attach'), ('b', 'attach'), ('a', 'before_step'), ('b', 'before_step')]


def test_a_part_that_is_resumed_does_not_look_again():
    log, states = [], Resumed()
    moments(log, states).begin({})
    assert log[2:] == [('a', 'before_step', ('a', 'a', False)), ('b', 'resumed', 5)]
    assert list(states.states) == ['a']


@pytest.mark.parametrize('left, why', [
    (dict(rows=torch.zeros(4)), 'ValueError: rows has 4 classes, expected 3'),
    (dict(columns=torch.zeros(3)), "KeyError: 'rows'"),
])
def test_a_state_of_another_method_is_told(left, why):
    message = (f"previous: the state of the part 'a' was left by another method ({why}). Give a step that was trained with the "
               'method of this one.')
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        moments([], PartStates(dict(a=left))).begin({})
