from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Dict, Literal, Mapping, Optional, Sequence, Union

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from pydantic import Field
from torch import nn

from mmcss.arguments import (Checked, Count, Counts, NotNegative, Number, Positive, Share, arguments_of, check_arguments,
                             check_value, did_you_mean, make, under, unknown_key)

if TYPE_CHECKING:
    from decimal import Decimal

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize('kind, values', [
    (NotNegative, [0, 0., 1e-45, 7]), (Positive, [1, 1e-45, 1e300]), (Share, [0, 1, .5]),
    (Number, [0, 10**30]), (Count, [1]), (Counts, [[1], (1, 2), [3, 1]]), (bool, [True, False]),
    (Literal['a', 'b'], ['a', 'b']), (Optional[Count], [None, 1]), (Dict[str, int], [{}, ConfigDict(a=1)]),
    (Mapping[str, Any], [{}, ConfigDict(a=dict(b=None))]), (Union[Count, Literal['all']], [3, 'all']),
    (Any, [None, 'x', object()]), (torch.Tensor, [torch.ones(1)]), (Annotated[str, Field(pattern='^a')], ['a', 'abc']),
])
def test_values_of_a_kind(kind, values):
    for value in values:
        check_value('key', value, kind)


@pytest.mark.parametrize('kind, value, told', [
    (NotNegative, NAN, 'key: got nan, expected a finite number.'),
    (NotNegative, INF, 'key: got inf, expected a finite number.'),
    (NotNegative, -.1, 'key: got -0.1, expected a number greater than or equal to 0.'),
    (Positive, 0, 'key: got 0, expected a number greater than 0.'),
    (Positive, True, 'key: got True, expected a number.'),
    (Positive, '1', "key: got '1', expected a number."),
    (Positive, None, 'key: got None, expected a number.'),
    (Share, 1.1, 'key: got 1.1, expected a number less than or equal to 1.'),
    (Share, NAN, 'key: got nan, expected a finite number.'),
    (Number, 1., 'key: got 1.0, expected an integer.'),
    (Number, -1, 'key: got -1, expected a number greater than or equal to 0.'),
    (Count, True, 'key: got True, expected an integer.'),
    (Counts, [], 'key: got [], expected at least 1 item.'),
    (Counts, [2, 0], 'key[1]: got 0, expected a number greater than or equal to 1.'),
    (Counts, ['a'], "key[0]: got 'a', expected an integer."),
    (Counts, '12', "key: got '12', expected a list."),
    (Counts, 3, 'key: got 3, expected a list.'),
    (bool, 1, 'key: got 1, expected True or False.'),
    (bool, 'yes', "key: got 'yes', expected True or False."),
    (Literal['a', 'b'], 'c', "key: got 'c', expected 'a' or 'b'."),
    (Literal['a', 'b'], ['a'], "key: got ['a'], expected 'a' or 'b'."),
    (Optional[Count], 0, 'key: got 0, expected a number greater than or equal to 1.'),
    (Union[Count, Literal['all']], 'some', "key: got 'some', expected an integer, or 'all'."),
    (Dict[str, Count], dict(a=0), 'key.a: got 0, expected a number greater than or equal to 1.'),
    (Mapping[str, int], [1], 'key: got [1], expected a dict.'),
    (str, 5, 'key: got 5, expected a string.'),
    (Annotated[str, Field(pattern='^loss_')], 'ce', "key: got 'ce', expected text that matches '^loss_'."),
    (torch.Tensor, 5, 'key: got 5, expected an instance of Tensor.'),
])
def test_what_is_said_of_other_values(kind, value, told):
    with pytest.raises(ValueError) as error:
        check_value('key', value, kind)
    assert str(error.value) == told


@dataclass
class Closed:
    """pydantic knows nothing of its field, and takes no config for it."""

    value: np.ndarray


@pytest.mark.parametrize('kind', [Annotated[float, [1]], 'NoSuchName', Closed], ids=str)
def test_kinds_that_can_not_be_checked_take_all_values(kind):
    check_value('key', object(), kind)


class Base(Checked):
    """Takes a number."""

    def __init__(self, weight: Positive = 1.0, way: Literal['a', 'b'] = 'a') -> None:
        self.weight, self.way = weight, way


class Child(Base):
    """Hands on what it does not know."""

    def __init__(self, sizes: Sequence[int] = (1, ), late: float = None, **kwargs: float) -> None:  # noqa: RUF013
        super().__init__(**kwargs)
        if len(sizes) > 3:
            raise ValueError(f'sizes: got {len(sizes)} of them, expected at most 3.')
        self.sizes = sizes


def told_by(call, *args, **kwargs):
    """The text of the ValueError that a call ends with."""
    with pytest.raises(ValueError) as error:
        call(*args, **kwargs)
    return str(error.value)


def test_arguments_by_name_through_kwargs():
    assert list(arguments_of(Child)) == ['sizes', 'late', 'weight', 'way']
    assert arguments_of(Child)['weight'].annotation == Positive and arguments_of(Child)['way'].default == 'a'
    assert list(arguments_of(lambda a, *b, c=1, **d: None)) == ['a', 'c']
    assert arguments_of(Checked) == {}


def test_classes_check_what_they_are_built_with():
    assert Base(2, way='b').weight == 2 and Child([1, 2], weight=3.).weight == 3.
    assert told_by(Base, 0) == 'Base.weight: got 0, expected a number greater than 0.'
    assert told_by(Base, way='c') == "Base.way: got 'c', expected 'a' or 'b'."
    assert told_by(Child, weight='x') == "Child.weight: got 'x', expected a number."
    assert told_by(Child, [1, 'a']) == "Child.sizes[1]: got 'a', expected an integer."


def test_a_call_that_does_not_fit_stays_a_type_error():
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'other'"):
        Base(other=1)


def test_a_default_is_valid_whatever_the_annotation_says():
    Child(late=None)
    check_arguments(Child, dict(late=None), '')
    assert told_by(Child, late='soon') == "Child.late: got 'soon', expected a number."


def test_modules_can_be_checked():
    class Layer(Checked, nn.Linear):
        """A layer."""

        def __init__(self, width: Count) -> None:
            super().__init__(width, width)

    assert Layer(3).weight.shape == (3, 3)
    assert told_by(Layer, 0) == 'Layer.width: got 0, expected a number greater than or equal to 1.'


class Loose(Checked):
    """Annotations that can't be read: checked by name alone."""

    def __init__(self, plain=1, late: Decimal = 2, count: Count = 1) -> None:
        self.given = plain, late, count


def test_annotations_that_can_not_be_read_leave_the_names():
    assert Loose('x', object(), -1).given[2] == -1
    check_arguments(Loose, dict(plain=None, late='x', count=-1), 'place')
    assert told_by(check_arguments, Loose, dict(cuont=1), 'place') == (
        "place.cuont: there is no such setting, did you mean 'count'?; valid are plain, late, count.")


@pytest.mark.parametrize('given, place, told', [
    (dict(wieght=1), 'continual.x', "continual.x.wieght: there is no such setting, did you mean 'weight'?; "
                                    'valid are sizes, late, weight, way.'),
    (dict(other=1), '', 'other: there is no such setting; valid are sizes, late, weight, way.'),
    ({5: 1}, 'a', 'a.5: there is no such setting; valid are sizes, late, weight, way.'),
    (dict(weight=0), 'a.b', 'a.b.weight: got 0, expected a number greater than 0.'),
    (dict(sizes=['a']), 'a', "a.sizes[0]: got 'a', expected an integer."),
    (dict(way=None), '', "way: got None, expected 'a' or 'b'."),
])
def test_arguments_of_a_config(given, place, told):
    assert told_by(check_arguments, Child, given, place) == told


def test_arguments_that_others_give_are_no_settings():
    def function(model: Any, size: Count, name: str = 'x') -> None:
        """Takes two of a config."""

    check_arguments(function, dict(size=1), 'a', skip=['model'])
    assert told_by(check_arguments, function, dict(name='y'), 'a', skip=['model']) == "a: got {'name': 'y'}, which lacks size."
    assert told_by(check_arguments, function, {}, '') == 'the config: got {}, which lacks model and size.'
    assert told_by(check_arguments, function, dict(model=1, size=1), 'a', skip=['model']) == (
        'a.model: there is no such setting; valid are size, name.')


def test_whose_an_unknown_setting_is():
    assert told_by(check_arguments, Base, dict(heat=1), 'a', owners=lambda name: [f'Its{name}', 'Other']) == (
        'a.heat: there is no such setting; valid are weight, way. heat is a setting of Itsheat, Other, not of Base.')


def test_what_takes_anything_is_given_anything():
    check_arguments(nn.Module, dict(any=1), 'a')
    check_arguments(lambda **kwargs: None, dict(any=1), 'a')
    assert told_by(check_arguments, Checked, dict(any=1), 'a') == 'a.any: there is no such setting; valid are none.'


def test_make():
    made = make(Child, dict(sizes=[1, 2], way='b'), 'a.b', weight=5)
    assert (made.sizes, made.way, made.weight) == ([1, 2], 'b', 5)
    assert told_by(make, Child, dict(weight=0), 'a.b') == 'a.b.weight: got 0, expected a number greater than 0.'
    assert told_by(make, Child, dict(sizes=[1] * 4), 'a.b') == 'a.b.sizes: got 4 of them, expected at most 3.'
    assert told_by(make, Child, dict(weight=1), 'a.b', weight=2).startswith('a.b.weight: there is no such setting')


def test_make_tells_the_place_of_what_a_call_raises():
    def function(size: int, other: int = 1) -> None:
        """Fails at what it has not been given."""
        raise (ValueError('other: got 1, expected 2') if size else TypeError('unsupported'))

    assert told_by(make, function, dict(size=1), 'a') == 'a.other: got 1, expected 2'
    assert told_by(make, function, dict(size=0), 'a') == 'a: unsupported'
    assert told_by(make, function, dict(size=0), '') == 'unsupported'


def test_texts_of_errors():
    assert under('a', ValueError('b[1]: got 2'), ['b']) == 'a.b[1]: got 2'
    assert under('a', ValueError('better: got 2'), ['b']) == 'a: better: got 2'
    assert under('', ValueError('b: got 2'), ['b']) == 'b: got 2'
    assert unknown_key('stpe', ['step', 'all'], 'run') == (
        "run.stpe: there is no such setting, did you mean 'step'?; valid are step, all.")
    assert did_you_mean('localpod', ['other', 'LocalPOD']) == ", did you mean 'LocalPOD'?" and did_you_mean('x', ['abc']) == ''
