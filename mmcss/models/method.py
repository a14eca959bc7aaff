"""A method: its parts, and what they need together."""
from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, Optional, Union

from torch import Tensor

from ..parts import Needs, Part, StepBatch, overrides
from ..scenario import Split
from .part_configs import PARTS, check_losses


class Method:
    """The parts of a method that act at one step.

    Attributes:
        parts: Those that act in training, by name.
        observers: Those that look at the data after training.

    Args:
        split: The classes of the step.
        targets: The part that completes the labels, or its config, or None.
        losses: Each continual loss, or its config, by name; None takes out
            one that a config inherits.

    Raises:
        ValueError: One can't be built; names the key.
    """

    def __init__(self,
                 split: Split,
                 targets: Union[Part, Mapping[str, Any], None] = None,
                 losses: Optional[Mapping[str, Union[Part, Mapping[str, Any], None]]] = None) -> None:
        losses = {} if losses is None else losses
        check_losses(losses, 'continual.losses')
        places = {'targets': 'continual.targets', **{name: f'continual.losses.{name}' for name in losses}}
        parts: Dict[str, Part] = {name: part if isinstance(part, Part) else PARTS.build(part, places[name])
                                  for name, part in {'targets': targets, **losses}.items() if part is not None}
        self.split = split
        self.parts = {name: part for name, part in parts.items() if split.step > 0 or part.from_first_step}
        self.observers = {name: part for name, part in parts.items() if overrides(part, 'after_step')}
        self.needs = needs_of(self.parts.values())

    def complete_targets(self, batch: StepBatch) -> None:
        """Let each part complete the labels of a batch."""
        for part in self.parts.values():
            part.targets(batch)

    def add(self, name: str, part: Part) -> None:
        """Let one more part act from now on; it has no state."""
        self.parts[name] = part
        self.needs |= part.needs

    def observe(self, batch: StepBatch) -> None:
        """Let each part look at a batch that is trained."""
        for part in self.parts.values():
            part.observe(batch)

    def losses(self, batch: StepBatch) -> Dict[str, Tensor]:
        """The losses of the parts by name, each starting with 'loss_'."""
        values = {}
        for name, part in self.parts.items():
            value = part.loss(batch)
            if value is not None:
                share = batch.image_share if part.mean_over_images else None
                values[f'loss_{name}'] = value if share is None else value * share
        return values


def needs_of(parts: Iterable[Part]) -> Needs:
    """What several parts need together."""
    needs = Needs()
    for part in parts:
        needs |= part.needs
    return needs
