"""Adapts settings of losses that refer to single classes to the classes of a step."""
from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Dict, List, Optional, Sequence

from mmseg.registry import MODELS

from ..models.heads import BOUNDARY_HEADS, MASK_HEADS
from ..scenario import IGNORE
from .config_nodes import class_of

Config = Dict[str, Any]

# The unknown class's entry in lists with an entry for each class: what losses use without a list.
NEUTRAL = {'class_weight': 1.0, 'pos_weight': 1.0, 'alpha': 0.5}
# Lists under these names always have an entry for each class; FocalLoss's alpha has too.
OF_CLASSES = ('class_weight', 'pos_weight')


@dataclass(frozen=True)
class StepClasses:
    """The classes of a step, for settings that follow the data set's order of classes.

    Args:
        order: Position of each class in the data set's list, for all steps in learning order.
        seen: Number of seen classes.
        listed: Number of classes that the data set lists.
        unknown: Whether there is one more channel, for what is no class yet.
    """

    order: Sequence[int]
    seen: int
    listed: int
    unknown: bool = False

    def entries(self, place: str, values: Sequence[float], behind: int = 0,
                neutral: Optional[float] = None) -> List[float]:
        """The seen classes' entries of a list with one for each class.

        Args:
            place: The list's key, for errors.
            values: The list; of any length where all entries are equal.
            behind: Number of entries at its end for outputs that are no class.
            neutral: The unknown class's entry.

        Raises:
            ValueError: The number of entries is not that of the classes, or there is no neutral entry for the unknown class.
        """
        of_classes, last = list(values[:len(values) - behind]), list(values[len(values) - behind:])
        alike = len(set(of_classes)) == 1
        if len(of_classes) != self.listed and not alike:
            raise ValueError(f'{place}: got {len(values)} entries, expected {self.listed + behind}: one for each class of '
                             "the data set, in its order (first the background, also one that it doesn't list)"
                             + (', and one for no object.' if behind else '.')
                             + (' Put that of the background, such as 1.0, before the others.'
                                if len(of_classes) == self.listed - 1 else ''))
        if self.unknown:
            if neutral is None:
                raise ValueError(f'{place}: got an entry for each class, but none for the unknown class '
                                 '(continual.unknown); remove the list or continual.unknown.')
            last = [neutral, *last]
        seen = of_classes[:1] * self.seen if alike else [of_classes[position] for position in self.order[:self.seen]]
        return seen + last

    def index(self, place: str, number: int) -> Optional[int]:
        """Channel of a class of the data set in this step's model; None for a future class."""
        if not 0 <= number < self.listed:
            raise ValueError(f'{place}: got class {number}, but the data set has the classes 0 to {self.listed - 1}.')
        order = list(self.order[:self.seen])
        return order.index(number) if number in order else None


def follow_classes(node: Any, place: str, classes: StepClasses, in_loss: bool = False, behind: int = 0) -> None:
    """Adapt settings of losses that refer to single classes to a step, in place.

    In a loss, any list of as many numbers as the data set has classes counts as one entry for each of them. Boundary heads
    have other classes, and stay as they are.

    Args:
        node: A head's or loss's config, or a list of them.
        place: Its key in the user's config, for errors.
        classes: The classes of the step.
        in_loss: Whether it belongs to a loss.
        behind: Number of the head's outputs behind those of its classes.

    Raises:
        ValueError: A list does not fit, or the ignored label is not mmcss's. Names the key.
    """
    if isinstance(node, (list, tuple)):
        for i, entry in enumerate(node):
            follow_classes(entry, f'{place}[{i}]', classes, in_loss, behind)
    if not isinstance(node, dict):
        return
    if not in_loss and any(_is_loss(key) for key in node):  # a head
        if is_a(node, *BOUNDARY_HEADS):
            return
        behind = int(is_a(node, *MASK_HEADS))
    for key, value in node.items():
        here = f'{place}.{key}'
        if key in OF_CLASSES and isinstance(value, str):  # a file, which the loss reads itself
            raise ValueError(f'{here}: got a file of weights, which cannot be cut to the classes of a step; give a list.')
        if _is_of_classes(node, key, value, classes.listed + behind, in_loss):
            node[key] = classes.entries(here, value, behind, NEUTRAL.get(key))
        elif in_loss and key == 'classes' and _is_numbers(value):  # LovaszLoss
            node[key] = _seen_numbers(here, value, classes)
        elif key in ('ignore_index', 'ignore_label') and value is not None:
            node[key] = _ignored(node, here, value, classes, in_loss)
        else:
            follow_classes(value, here, classes, in_loss or _is_loss(key), behind)


def is_a(node: Config, *names: str) -> bool:
    """Whether a config's type is a class of one of these names, or inherits from one."""
    cls = class_of(MODELS, node.get('type'))
    return cls is not None and any(base.__name__ in names for base in cls.__mro__)


def _is_loss(key: str) -> bool:
    return 'loss' in key.split('_')


def _is_numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(
        isinstance(number, Real) and not isinstance(number, bool) for number in value)


def _is_of_classes(node: Config, key: str, value: Any, length: int, in_loss: bool) -> bool:
    """Whether a setting has an entry for each class."""
    if not _is_numbers(value) or key == 'classes':
        return False
    named = key in OF_CLASSES or (key == 'alpha' and is_a(node, 'FocalLoss'))
    return named or (in_loss and len(value) == length)


def _seen_numbers(place: str, numbers: Sequence[int], classes: StepClasses) -> List[int]:
    indices = [index for index in (classes.index(place, number) for number in numbers) if index is not None]
    if not indices:
        raise ValueError(f'{place}: got {list(numbers)}, none of which is among the first {classes.seen} classes learned; '
                         "take all classes ('present' or 'all'), or set it in next_steps.")
    return indices


def _ignored(node: Config, place: str, value: int, classes: StepClasses, in_loss: bool) -> int:
    if in_loss and is_a(node, 'DiceLoss'):  # the class that it leaves out
        index = classes.index(place, value) if 0 <= value < classes.listed else None
        return IGNORE if index is None else index
    if value != IGNORE and not (in_loss and value < 0):
        raise ValueError(f'{place}: got {value}, expected {IGNORE}, which marks pixels without a label; 0 to '
                         f'{classes.listed - 1} are classes. Remove it; class_weight can exclude a class.')
    return value
