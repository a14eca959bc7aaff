"""Turns existing stock segmentors into students, and back."""
from __future__ import annotations

import functools
from typing import Any, Callable, Optional, Type

from mmseg.models.segmentors import EncoderDecoder

from .extended_segmentors import ExtendedMixin
from .method import Learning, Method
from .segmentors import ContinualMixin
from .teacher import FrozenTeacher


def make_student(model: EncoderDecoder, method: Method, learning: Learning,
                 teacher: Optional[FrozenTeacher] = None) -> Callable[[], None]:
    """Turn an existing stock segmentor into the student of a method's step, by exchanging its class.

    Args:
        model: The segmentor.
        method: The method.
        learning: Settings besides the method's.
        teacher: The model of the step before, if the method uses it.

    Returns:
        A function that turns it into the stock segmentor again.

    Raises:
        TypeError: It is no stock segmentor.
        ValueError: The method does not support it.
    """
    check_stock(model)
    stock: type = type(model)
    stock_attributes = set(vars(model))

    def restore() -> None:
        model.remove_part_modules()
        model.__class__ = stock
        for name in set(vars(model)) - stock_attributes:
            delattr(model, name)

    model.__class__ = student_class(stock)
    try:
        model.take_method(method, learning, teacher)
    except ValueError:
        restore()
        raise
    return restore


def check_stock(model: Any) -> None:
    """Make sure that a model can become a student; raises TypeError."""
    if not isinstance(model, EncoderDecoder) or isinstance(model, ContinualMixin):
        raise TypeError(f'model: got {type(model).__name__}, expected a stock EncoderDecoder or CascadeEncoderDecoder.')


@functools.cache
def student_class(stock: Type[EncoderDecoder]) -> Type[ContinualMixin]:
    """The class of students that are otherwise segmentors of a stock class."""
    mixins = (ContinualMixin, ) if issubclass(stock, ExtendedMixin) else (ContinualMixin, ExtendedMixin)
    # The class is in no module, so that pickle and deepcopy have to derive it from the stock one.
    attributes = dict(__reduce__=lambda model: (_empty_student, (stock, ), vars(model)))
    return type(f'Continual{stock.__name__}', (*mixins, stock), attributes)


def _empty_student(stock: type) -> ContinualMixin:
    kind = student_class(stock)
    return kind.__new__(kind)
