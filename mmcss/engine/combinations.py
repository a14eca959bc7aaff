"""The table of schedules, variants and settings for combinations of scenario, method and model."""
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
        """Whether the row's ``scenarios``, ``methods`` and ``models`` match these names."""
        return all(any(fnmatchcase(name, pattern) for pattern in getattr(self, kind)) for kind, name in names.items())


@dataclass(frozen=True)
class Choice:
    """Files for a combination by their names (None where no row names one), and settings to merge in this order.

    ``excluded`` says why the combination is not supported; None where it is.
    """

    schedule: Optional[str]
    runtime: Optional[str]
    method: str
    settings: Tuple[Mapping[str, Any], ...]
    excluded: Optional[str]


class Combinations:
    """The table in a folder with ``models``, ``scenarios``, ``schedules`` and ``methods``, such as ``configs/_base_``.

    Raises:
        ValueError: The folder has no table, or a row of it is wrong.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / TABLE
        if not path.is_file():
            raise ValueError(f'{path} is missing: the table of combinations of scenarios, methods and models.')
        rows = plain(Config.fromfile(path).rows)
        self.rows = [make(Row, row, f'{path}: rows[{i}]') for i, row in enumerate(rows)]

    def method_of(self, file: str) -> str:
        """The method of a file that may be a variant: 'plop' of 'plop_domain'."""
        variant = next((row.variant for row in self.rows if row.variant and file.endswith(f'_{row.variant}')), None)
        return file.removesuffix(f'_{variant}') if variant else file

    def choose(self, scenario: str, method: str, model: str) -> Choice:
        """The choice for a combination, by the names of its files without '.py' (the method's without its variant)."""
        rows = [row for row in self.rows if row.holds(scenarios=scenario, methods=method, models=model)]
        last: Dict[str, Optional[str]] = {
            key: next((getattr(row, key) for row in reversed(rows) if getattr(row, key)), None)
            for key in ('schedule', 'runtime', 'variant', 'excluded')}
        variant = last.pop('variant')
        return Choice(method=f'{method}_{variant}' if variant else method,
                      settings=tuple(row.settings for row in rows if row.settings), **last)
