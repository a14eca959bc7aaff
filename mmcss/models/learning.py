"""How a model learns a step, besides by its method's parts."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Mapping, Sequence

from ..arguments import NotNegative, one_of
from .freezing import GROUPS
from .new_rows import DEFAULT_NEW_ROWS, NEW_ROWS


@dataclass(frozen=True)
class Learning:
    """What a step's model is told besides its classes and the parts.

    Args:
        new_rows: How the rows of new classes start; see :data:`NEW_ROWS`.
        frozen: What stands still from step 1 on; see :func:`freeze`.
        row_lr: Factor on the learning rate of groups of rows, likewise.
        stages: Names of the modules whose outputs are the stages; without,
            the backbone's.
        over_processes: Whether what is a mean over the batch is one over the
            images of all processes.
    """

    new_rows: Annotated[str, one_of(NEW_ROWS)] = DEFAULT_NEW_ROWS
    frozen: Sequence[str] = ()
    row_lr: Mapping[Annotated[str, one_of(GROUPS)], NotNegative] = field(default_factory=dict)
    stages: Sequence[str] = ()
    over_processes: bool = True
