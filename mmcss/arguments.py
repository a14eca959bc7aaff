"""Checks arguments by the annotations of the functions and classes that take them."""
from __future__ import annotations

import functools
import inspect
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Callable, Collection, Dict, Iterable, List, Mapping, Sequence, TypeVar, get_type_hints

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from .files import plain, short

T = TypeVar('T')

# The value of fields that are not set, or not asked for; their annotations omit it.
ABSENT: Any = None

# Kinds of numbers, for annotations: `temperature: Positive = 1.0`.
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[Sequence[Count], Field(min_length=1)]

# Pydantic's wording of what it expects, and ours.
WORDS = (("'str' instances are not allowed as a Sequence value", 'a list'), ('Input should be a valid boolean', 'True or False'),
         ('Input should be an instance of Sequence', 'a list'), ('Input should be an instance of Path', 'a path'),
         ('Input should be an instance of Mapping', 'a dict'),
         ('Input should be a valid list', 'a list'), ('Input should be a valid tuple', 'a tuple'),
         ('Input should be a valid dictionary', 'a dict'), ('Input should be a valid mapping', 'a dict'),
         ('Input should be a valid ', 'a '), ('Input should be greater', 'a number greater'),
         ('Input should be less', 'a number less'), ('Input should be ', ''), (' after validation, not 0', ''),
         ('String should match pattern', 'text that matches'),
         ('a integer', 'an integer'), ('Value should have ', ''), ('List should have ', ''), ('Dictionary should have ', ''))


def check_value(key: str, value: Any, kind: Any) -> None:
    """Make sure that a value is of a kind.

    Args:
        key: Full path of the setting, for errors.
        value: The value. Sequences may be lists or tuples, other kinds are strict (neither True nor '1' is a number).
        kind: An annotation, such as ``Positive`` or ``Literal['a', 'b']``; one that can't be checked accepts every value.

    Raises:
        ValueError: It is not. Names the key, what was got and what is valid.
    """
    try:
        _adapter(kind).validate_python(value.item() if isinstance(value, np.generic) else value, strict=True)
    except ValidationError as error:
        raise ValueError(_message(key, value, error)) from None
    except (PydanticUserError, NameError, TypeError):
        pass  # the kind can't be checked: it is incomplete, not hashable, or unknown to pydantic


def check_arguments(takes: Callable[..., Any], arguments: Mapping[str, Any], place: str,
                    skip: Collection[str] = (),
                    owners: Callable[[str], Collection[str]] = lambda name: ()) -> None:
    """Make sure that a class or function can be called with the arguments of a config.

    Args:
        takes: The class or function. Arguments without a readable annotation are checked by name only.
        arguments: The arguments by name, without ``type``.
        place: Full path of the config, for errors; '' at the top.
        skip: Arguments that the caller passes, and that are no settings.
        owners: Names of other classes that have a setting of that name.

    Raises:
        ValueError: An argument is unknown (names the nearest, and classes that take it), missing, or of a wrong kind.
    """
    kinds = arguments_of(takes)
    valid = [name for name in kinds if name not in skip]
    if not takes_any(takes):
        check_names(arguments, valid, place, owners, takes.__name__)
    missing = [name for name, argument in kinds.items()
               if argument.default is argument.empty and name not in (*arguments, *skip)]
    if missing:
        raise ValueError(f'{place or "the config"}: got {short(plain(arguments), 200)}, which lacks {" and ".join(missing)}.')
    for name, value in arguments.items():
        if name in kinds:
            _check_argument(f'{place}.{name}' if place else name, value, kinds[name])


def check_names(names: Iterable[str], valid: Collection[str], place: str,
                owners: Callable[[str], Collection[str]] = lambda name: (), takes: str = '') -> None:
    """Make sure that all names are among the valid ones; an error names the nearest, and whose setting it is."""
    for name in names:
        if name not in valid:
            classes = ', '.join(owners(name))
            hint = f' {name} is a setting of {classes}, not of {takes}.' if classes else ''
            raise ValueError(unknown_key(name, valid, place) + hint)


def make(takes: Callable[..., T], arguments: Mapping[str, Any], place: str, **passed: Any) -> T:
    """Check arguments as :func:`check_arguments` does, and call with them and with ``passed``, which are no settings.

    Raises:
        ValueError: Arguments are wrong, or the call itself fails; with the place.
    """
    check_arguments(takes, arguments, place, skip=passed)
    try:
        return takes(**arguments, **passed)
    except (ValueError, TypeError) as error:
        raise ValueError(under(place, error, arguments_of(takes))) from error


def one_of(names: Collection[str]) -> Any:
    """For annotations: names in a collection at the time of the check, such as a registry that grows.

    ``policy: Annotated[str, one_of(POLICIES)]``
    """

    def known(name: str) -> str:
        if name not in names:
            raise PydanticCustomError('name', '{expected}', dict(expected=' or '.join(map(repr, names))))
        return name

    return AfterValidator(known)


def under(place: str, error: Exception, keys: Iterable[str] = ()) -> str:
    """The text of an error behind the place of the config; joined to one path if the text begins with one of ``keys``."""
    text = str(error)
    if not place:
        return text
    return f'{place}.{text}' if any(text.startswith((f'{key}:', f'{key}.', f'{key}[')) for key in keys) else f'{place}: {text}'


def unknown_key(name: str, valid: Collection[str], place: str) -> str:
    """The message for a key that nothing takes."""
    where = f'{place}.{name}' if place else str(name)
    return f'{where}: there is no such setting{did_you_mean(name, valid)}; valid are {", ".join(valid) or "none"}.'


def did_you_mean(name: Any, valid: Collection[str]) -> str:
    """The nearest of some names as a clause; empty where none is near."""
    folded = {str(option).lower(): option for option in valid}
    near = get_close_matches(str(name).lower(), folded, n=1)
    return f', did you mean {folded[near[0]]!r}?' if near else ''


@functools.cache
def arguments_of(takes: Callable[..., Any]) -> Dict[str, inspect.Parameter]:
    """The arguments that a function or class takes by name; those of base classes through ``**kwargs``."""
    arguments: Dict[str, inspect.Parameter] = {}
    for function in _functions(takes):
        # Inherited fields of a dataclass are annotated in their own modules.
        for name, argument in _parameters(function, takes if is_dataclass(takes) else function).items():
            arguments.setdefault(name, argument)
        if not _passes_on(function):
            break
    return arguments


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """An ``__init__`` that checks its arguments before it runs."""

    @functools.wraps(init)
    def checking(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = inspect.signature(init).bind(self, *args, **kwargs).arguments
        except TypeError:  # the call below raises it, with the name of the class
            bound = {}
        for name, argument in _parameters(init, init).items():
            if name in bound:
                _check_argument(f'{type(self).__name__}.{name}', bound[name], argument)
        init(self, *args, **kwargs)

    return checking


class Checked:
    """Subclasses check the arguments of their ``__init__`` by its annotations."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if '__init__' in vars(cls):
            setattr(cls, '__init__', checked(vars(cls)['__init__']))  # noqa: B010  mypy knows no other way


def _functions(takes: Callable[..., Any]) -> List[Callable[..., Any]]:
    """A function itself; of a class its ``__init__`` and those that it inherits, nearest first."""
    if not isinstance(takes, type):
        return [takes]
    return [vars(base)['__init__'] for base in takes.__mro__ if '__init__' in vars(base) and base is not object]


def takes_any(takes: Callable[..., Any], itself: bool = False) -> bool:
    """Whether a class or function takes arguments of any name; ``itself``: regardless of base classes."""
    functions = _functions(takes)[:1 if itself else None]
    return bool(functions) and all(_passes_on(function) for function in functions)


def _passes_on(function: Callable[..., Any]) -> bool:
    """Whether a function takes ``**kwargs``."""
    return any(argument.kind is argument.VAR_KEYWORD for argument in inspect.signature(function).parameters.values())


@functools.cache
def _parameters(function: Callable[..., Any], annotated: Any) -> Dict[str, inspect.Parameter]:
    """The arguments that a function itself takes by name, with evaluated annotations."""
    try:
        hints = get_type_hints(annotated, include_extras=True)
    except Exception:  # annotations may name what is imported for type checkers alone
        hints = {}
    return {name: argument.replace(annotation=hints.get(name, argument.empty))
            for name, argument in inspect.signature(function).parameters.items()
            if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY) and name not in ('self', 'cls')}


def _check_argument(key: str, value: Any, argument: inspect.Parameter) -> None:
    # A default is valid, also None that the annotation does not mention.
    if argument.annotation is not argument.empty and value is not argument.default:
        check_value(key, value, argument.annotation)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a kind that has its own config, such as a dataclass
        return TypeAdapter(kind)


def _message(key: str, value: Any, error: ValidationError) -> str:
    """What was got and what is valid, at the first wrong place; lists all kinds of a union."""
    errors = error.errors(include_url=False)
    # Of a union each kind has an entry, with its own name behind the place.
    place = [step for step in errors[0]['loc'] if isinstance(step, int) or isinstance(value, Mapping) and step in value]
    expected: List[str] = []
    for entry in errors:
        text = entry['msg']
        for pydantic_words, words in WORDS:
            text = text.replace(pydantic_words, words)
        expected += [text] if text not in expected else []
    got = errors[0]['input'] if len(errors) == 1 else value
    here = ''.join(f'[{step}]' if isinstance(step, int) else f'.{step}' for step in (place if len(errors) == 1 else []))
    return f'{key}{here}: got {short(plain(got), 200)}, expected {", or ".join(expected)}.'
