"""The table of what scenarios, methods and models take when an experiment is composed of them."""
from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from mmengine.config import Config

from ..arguments import make
from ..files import plain

TABLE = 'combinations.py'


@dataclass(frozen=True)
class Row:
    """A row of configs/_base_/combinations.py, which explains its columns."""

    scenarios: Sequence[str] = ('*', )
    methods: Sequence[str] = ('*', )
    models: Sequence[str] = ('*', )
    schedule: Optional[str] = None
    runtime: Optional[str] = None
    variant: Optional[str] = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    excluded: Optional[str] = None

    def holds(self, **names: str) -> bool:
        """Whether the ``scenarios``, ``methods`` and ``models`` of the row have these names."""
        return all(any(fnmatchcase(name, pattern) for pattern in getattr(self, kind)) for kind, name in names.items())


@dataclass(frozen=True)
class Choice:
    """What a combination takes: names of files (None: no row says), and settings to be merged one after another.

    ``excluded`` says why there is no such experiment, if there is none.
    """

    schedule: Optional[str]
    runtime: Optional[str]
    method: str
    settings: Tuple[Mapping[str, Any], ...]
    excluded: Optional[str]


class Combinations:
    """The table of a folder of parts.

    Args:
        folder: The folder that has ``models``, ``scenarios``, ``schedules``
            and ``methods``, such as ``configs/_base_``.

    Raises:
        ValueError: The folder has no table, or a row is not what it should be.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / TABLE
        if not path.is_file():
            raise ValueError(f'{path} is missing: the table of what scenarios, methods and models take.')
        rows = plain(Config.fromfile(path).rows)
        self.rows = [make(Row, row, f'{path}: rows[{i}]') for i, row in enumerate(rows)]

    def method_of(self, file: str) -> str:
        """The method whose variant is called so: 'plop' of 'plop_domain'."""
        variant = next((row.variant for row in self.rows if row.variant and file.endswith(f'_{row.variant}')), None)
        return file.removesuffix(f'_{variant}') if variant else file

    def choose(self, scenario: str, method: str, model: str) -> Choice:
        """What a combination takes, by the names of its files without '.py' (that of the method without variant)."""
        rows = [row for row in self.rows if row.holds(scenarios=scenario, methods=method, models=model)]
        last: Dict[str, Optional[str]] = {
            key: next((getattr(row, key) for row in reversed(rows) if getattr(row, key)), None)
            for key in ('schedule', 'runtime', 'variant', 'excluded')}
        variant = last.pop('variant')
        return Choice(method=f'{method}_{variant}' if variant else method,
                      settings=tuple(row.settings for row in rows if row.settings), **last)
