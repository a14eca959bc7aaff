"""The classes and domains of one step."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

Names = Tuple[str, ...]


@dataclass(frozen=True)
class Domains:
    """The domains of one step; ``base`` are those of the scenario's step 0, which are reported as "old"."""

    old: Names
    new: Names
    future: Names
    base: Names

    @property
    def seen(self) -> Names:
        """Old and new domains."""
        return self.old + self.new


@dataclass(frozen=True)
class Split:
    """The classes of one step, in learning order (background first).

    Args:
        step: Number of the step, from 0.
        old: Classes of the steps before; empty at step 0.
        new: Classes that enter at this step.
        future: Classes of later steps.
        base: Classes of the scenario's step 0, which the papers report as "old". Differs from ``new`` at step 0 only in a
            joint run, whose single step has all classes.
        background: Name of the background class, the first of ``base``; None if there is none.
        domains: The step's domains, where steps add domains; None where they add classes.
    """

    step: int
    old: Names
    new: Names
    future: Names
    base: Names
    background: Optional[str] = None
    domains: Optional[Domains] = None

    @property
    def seen(self) -> Names:
        """Old and new classes: the channels of this step's model."""
        return self.old + self.new

    @property
    def entering(self) -> Names:
        """The classes, or domains, that enter at this step."""
        return self.new if self.domains is None else self.domains.new

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
    def first_foreground(self) -> int:
        """Label and channel of the first foreground class: 1 behind a background, else 0."""
        return int(self.background is not None)

    @property
    def unknown(self) -> int:
        """Label and channel of the unknown class, in models that have it: behind all classes."""
        return self.num_seen

    def foreground(self, names: Names) -> Names:
        """``names`` without the background."""
        return tuple(name for name in names if name != self.background)

    def to_dict(self) -> Dict[str, Any]:
        """Plain dict of strings, ints and lists, for configs and JSON."""
        values = asdict(self)
        if self.domains is None:
            del values['domains']
        return _with(list, values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Split:
        """Inverse of :meth:`to_dict`."""
        values = _with(tuple, values)
        if values.get('domains') is not None:
            values['domains'] = Domains(**values['domains'])
        return cls(**values)


def _with(kind: type, values: Mapping[str, Any]) -> Dict[str, Any]:
    """A copy of nested dicts whose sequences are of this kind."""
    return {
        key: _with(kind, value) if isinstance(value, Mapping) else kind(value) if isinstance(value, (list, tuple)) else value
        for key, value in values.items()
    }
