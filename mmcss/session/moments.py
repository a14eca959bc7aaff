"""Calls the moments of a method's parts outside of a forward pass (targets, loss and observe are called within it)."""
from __future__ import annotations

from typing import Callable, Mapping, Optional

from torch import Tensor

from ..models import ContinualMixin
from ..parts import ImagePasses, Part, overrides
from .part_states import Found, PartStates, State, unfit_state

PassesOfPart = Callable[[str, Part, bool], ImagePasses]


class Moments:
    """The moments of a step's parts, in their order.

    Args:
        model: The student.
        image_passes: Gives a part, by its name, passes over the images of
            the step, with predictions of the student (True) or of the
            teacher (False). Runs nothing until they are iterated.
        states: Where states come from and go to.
    """

    def __init__(self, model: ContinualMixin, image_passes: PassesOfPart, states: PartStates) -> None:
        self.model = model
        self.image_passes = image_passes
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
                # The step may have been stopped before or after the state took in its new classes.
                load(name, part, part.load_state_dict, begun, 0, split.num_old, split.num_seen)
                continue
            if overrides(part, 'before_step'):
                part.before_step(split, self.image_passes(name, part, False))
            self.states.keep(name, part)

    def before_update(self) -> None:
        """Let the parts read or change the gradients; right before each update of the weights."""
        for part in self.model.method.parts.values():
            part.before_update()

    def finish(self, observers: Optional[Mapping[str, Part]] = None) -> None:
        """Let parts look at the trained model.

        Args:
            observers: These parts; default: all of the method's observers.
        """
        for name, part in (self.model.method.observers if observers is None else observers).items():
            part.after_step(self.model.split, self.image_passes(name, part, True))
            self.states.keep(name, part)


def load(name: str, part: Part, take: Callable[[State], None], stored: Found, *numbers: int) -> None:
    """Let a part take a state.

    Args:
        name: The part's.
        part: Whose state it is.
        take: ``load_previous`` or ``load_state_dict`` of the part.
        stored: The state, and the file that it is from.
        numbers: How many classes the tensors of ``per_class`` may have.

    Raises:
        ValueError: It does not fit the part, or is of another number of classes.
    """
    try:
        if stored.left_by not in ('', type(part).__name__):
            raise ValueError(f'it is of {stored.left_by}, expected {type(part).__name__}')
        for key, dimension in part.per_class.items():
            classes = stored.state[key].shape[dimension]
            if classes not in numbers:
                raise ValueError(f'{key} is of {classes} classes, expected {numbers[-1]}')
        take(stored.state)
    except (KeyError, IndexError, TypeError, RuntimeError, ValueError) as error:
        raise unfit_state(error, stored.file, name) from error
