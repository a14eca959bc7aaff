"""A method: its parts, and how a model learns a step besides."""
from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Annotated, Any, Dict, Mapping, Optional, Sequence, Union

from torch import Tensor

from ..arguments import NotNegative, one_of
from ..parts import Needs, Part, StepBatch, overrides
from ..scenario import Split
from .freezing import GROUPS
from .new_rows import DEFAULT_NEW_ROWS, NEW_ROWS
from .part_configs import PARTS, check_losses


@dataclass(frozen=True)
class Learning:
    """Settings of a step's model that belong to no part of the method.

    Args:
        new_rows: How the rows of new classes start; see :data:`NEW_ROWS`.
        frozen: What is frozen from step 1 on; see :func:`freeze`.
        row_lr: Factor on the learning rate of groups of rows, likewise.
        stages: Names of the modules whose outputs are the stages; default:
            the backbone's.
        over_processes: Whether means over the batch are means over the images
            of all processes.
    """

    new_rows: Annotated[str, one_of(NEW_ROWS)] = DEFAULT_NEW_ROWS
    frozen: Sequence[str] = ()
    row_lr: Mapping[Annotated[str, one_of(GROUPS)], NotNegative] = field(default_factory=dict)
    stages: Sequence[str] = ()
    over_processes: bool = True


class Method:
    """The parts of a method that act at one step.

    Args:
        split: The classes of the step.
        targets: The part that completes the labels, or its config, or None.
        losses: Each continual loss, or its config, by name; None removes a
            loss that a config inherits.

    Attributes:
        parts: Those that act in training, by name.
        observers: Those with ``after_step``, by name.
        needs: What the parts need together.

    Raises:
        ValueError: A part can't be built; names the key.
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
        self.needs = reduce(or_, (part.needs for part in self.parts.values()), Needs())

    def complete_targets(self, batch: StepBatch) -> None:
        """Let each part complete the labels of a batch."""
        for part in self.parts.values():
            part.targets(batch)

    def add(self, name: str, part: Part) -> None:
        """Add a part without state, which acts from now on."""
        self.parts[name] = part
        self.needs |= part.needs

    def observe(self, batch: StepBatch) -> None:
        """Let each part observe a batch that is trained."""
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
