"""Settings of a step's model that belong to no part of the method."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Mapping, Sequence

from ..arguments import NotNegative, one_of
from .freezing import GROUPS
from .new_rows import DEFAULT_NEW_ROWS, NEW_ROWS


@dataclass(frozen=True)
class Learning:
    """How a model learns a step, besides the parts of the method.

    Args:
        new_rows: How the rows of new classes start; see :data:`NEW_ROWS`.
        frozen: What is frozen from step 1 on; see :func:`freeze`.
        row_lr: Factor on the learning rate of groups of rows, likewise.
        stages: Names of the modules whose outputs are the stages; without,
            the backbone's.
        over_processes: Whether means over the batch are means over the images
            of all processes.
    """

    new_rows: Annotated[str, one_of(NEW_ROWS)] = DEFAULT_NEW_ROWS
    frozen: Sequence[str] = ()
    row_lr: Mapping[Annotated[str, one_of(GROUPS)], NotNegative] = field(default_factory=dict)
    stages: Sequence[str] = ()
    over_processes: bool = True
