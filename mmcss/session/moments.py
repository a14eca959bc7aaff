"""Calls the moments of a method's parts outside of a forward pass (targets, loss and observe are called within it)."""
from __future__ import annotations

from typing import Callable, Mapping, Optional

from torch import Tensor

from ..models import ContinualMixin
from ..parts import ImagePasses, Part, overrides
from .part_states import PartStates, State, StoredState, unfit_state

PassesOfPart = Callable[[str, Part, bool], ImagePasses]


class Moments:
    """The moments of a step's parts, in their order.

    Args:
        image_passes: Gives a part, by its name, passes over the images of
            the step, with predictions of the student (True) or of the
            teacher (False). Nothing runs until they are iterated.
        states: Gives the parts their states, and stores them.
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
            ValueError, FileNotFoundError: A part's state is missing or does
                not fit the part.
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
        """Call ``after_step`` of the observers; default: all of the method's."""
        for name, part in (self.model.method.observers if observers is None else observers).items():
            part.after_step(self.model.split, self.image_passes(name, part, True))
            self.states.keep(name, part)


def load(name: str, part: Part, load_part: Callable[[State], None], stored: StoredState, *num_classes: int) -> None:
    """Load a state into a part.

    Args:
        load_part: ``load_previous`` or ``load_state_dict`` of the part.
        num_classes: How many classes the tensors of ``per_class`` may have.

    Raises:
        ValueError: The state does not fit the part, or has another number of classes.
    """
    try:
        if stored.part_class not in ('', type(part).__name__):
            raise ValueError(f'got a state of {stored.part_class}, expected one of {type(part).__name__}')
        for key, dimension in part.per_class.items():
            classes = stored.state[key].shape[dimension]
            if classes not in num_classes:
                raise ValueError(f'{key} has {classes} classes, expected {num_classes[-1]}')
        load_part(stored.state)
    except (KeyError, IndexError, TypeError, RuntimeError, ValueError) as error:
        raise unfit_state(error, stored.file, name) from error
