"""The classes of one step."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Mapping, Optional, Tuple

Names = Tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """The classes of one step, in learning order (background first).

    Args:
        step: Number of the step, from 0.
        old: Classes of the steps before; empty at step 0.
        new: Classes that enter at this step.
        future: Classes of later steps.
        base: Classes of the scenario's step 0, which the papers report as
            "old". Differs from ``new`` at step 0 only for a joint run, whose
            single step holds all classes.
        background: Name of the background class, None if there is none. It
            stands first in ``base``.
    """

    step: int
    old: Names
    new: Names
    future: Names
    base: Names
    background: Optional[str] = None

    @property
    def seen(self) -> Names:
        """Old and new classes: the channels of this step's model."""
        return self.old + self.new

    @property
    def num_old(self) -> int:
        return len(self.old)

    @property
    def num_new(self) -> int:
        return len(self.new)

    @property
    def num_seen(self) -> int:
        return len(self.old) + len(self.new)

    @property
    def unknown(self) -> int:
        """Label and channel of what is no class yet, in models that have it: behind all classes."""
        return self.num_seen

    def foreground(self, names: Names) -> Names:
        """``names`` without the background."""
        return tuple(name for name in names if name != self.background)

    def to_dict(self) -> dict:
        """Plain dict of strings, ints and lists, for configs and JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'Split':
        """Inverse of :meth:`to_dict`."""
        return cls(**{
            key: tuple(value) if isinstance(value, (list, tuple)) else value
            for key, value in values.items()
        })
