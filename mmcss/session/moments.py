"""The one place that calls the moments of a method's parts, but for those of a forward pass: targets, loss, observe."""
from __future__ import annotations

from typing import Callable, Mapping, Optional

from torch import Tensor

from ..models import ContinualMixin
from ..parts import Look, Part, overrides
from .part_states import Found, PartStates, State, unfit_state

Looks = Callable[[str, Part, bool], Look]


class Moments:
    """The moments of a step's parts, in their order.

    Args:
        model: The student.
        look: Gives a part, by its name, its look at the images of the step;
            with True it shows the student's predictions, with False the
            teacher's. Runs nothing until it is iterated.
        states: Where states come from and go to.
    """

    def __init__(self, model: ContinualMixin, look: Looks, states: PartStates) -> None:
        self.model = model
        self.look = look
        self.states = states

    def begin(self, old: Mapping[str, Tensor]) -> None:
        """Get the parts ready to train.

        Args:
            old: State dict of the step before; empty at step 0, and where no
                part attaches itself.

        Raises:
            ValueError: A part can't take a state that there is.
        """
        parts, split = self.model.method.parts, self.model.split
        for part in parts.values():
            part.attach(self.model, old)
        for name, part in parts.items():
            if self.states.before is not None and overrides(part, 'load_previous'):
                load(name, part, part.load_previous, self.states.previous(name), split.num_old)
            begun = self.states.begun(name)
            if begun is not None:
                # The step may have been stopped before or behind the classes of its own.
                load(name, part, part.load_state_dict, begun, 0, split.num_old, split.num_seen)
                continue
            if overrides(part, 'before_step'):
                part.before_step(split, self.look(name, part, False))
            self.states.keep(name, part)

    def before_update(self) -> None:
        """Let the parts read or change the gradients; right before each update of the weights."""
        for part in self.model.method.parts.values():
            part.before_update()

    def finish(self, observers: Optional[Mapping[str, Part]] = None) -> None:
        """Let parts look at the trained model.

        Args:
            observers: Which ones; default: all of the method's.
        """
        for name, part in (self.model.method.observers if observers is None else observers).items():
            part.after_step(self.model.split, self.look(name, part, True))
            self.states.keep(name, part)


def load(name: str, part: Part, take: Callable[[State], None], found: Found, *numbers: int) -> None:
    """Let a part take a state.

    Args:
        name: The part's.
        part: Whose state it is.
        take: ``load_previous`` or ``load_state_dict`` of the part.
        found: What it takes.
        numbers: How many classes the tensors of ``per_class`` may have.

    Raises:
        ValueError: It does not fit the part, or is of another number of classes.
    """
    try:
        if found.left_by not in ('', type(part).__name__):
            raise ValueError(f'it is of {found.left_by}, expected {type(part).__name__}')
        for key, dimension in part.per_class.items():
            classes = found.state[key].shape[dimension]
            if classes not in numbers:
                raise ValueError(f'{key} is of {classes} classes, expected {numbers[-1]}')
        take(found.state)
    except (KeyError, IndexError, TypeError, RuntimeError, ValueError) as error:
        raise unfit_state(error, found.file, name) from error
