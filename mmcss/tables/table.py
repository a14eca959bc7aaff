"""A table of experiments: which methods, scenarios and seeds it compares, read from a YAML file."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import yaml  # type: ignore[import-untyped]

from ..arguments import Number, did_you_mean, make
from ..files import PathLike, short

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A method as one row of a table shows it.

    Attributes:
        title: What the row is called.
        method: Folder of its config; by default the row's name.
        config: In place of the table's.
        model: Likewise.
        profile: 'paper' or 'official', None for the config's own.
        options: Settings by their dotted keys, as ``--cfg-options`` takes them.
        vary: Lists of values by dotted keys: a row for each combination.
        scenarios: Those of the table that it is trained on; None for all.
        seeds: In place of the table's.
        note: Shown below the table.
    """

    title: str
    method: str
    config: Optional[str] = None
    model: Optional[str] = None
    profile: Optional[str] = None
    options: Options = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    scenarios: Optional[Sequence[str]] = None
    seeds: Optional[Sequence[Number]] = None
    note: Optional[str] = None


@dataclass(frozen=True)
class Page:
    """A part of a Markdown file that shows results: what stands between the markers of this name.

    Attributes:
        file: The Markdown file.
        scenario: Of which scenario.
        rows: Names of the rows shown, in this order; None for all.
    """

    file: str
    scenario: str
    rows: Optional[Sequence[str]] = None


@dataclass(frozen=True)
class Table:
    """What a YAML file says of a table.

    Attributes:
        name: The file's.
        config: Path of the methods' config files, with ``*`` for the method.
        model: A file of ``configs/_base_/models`` by its name.
        scenarios: Settings of each scenario (dotted keys) by its name; a name
            may stand for a scenario with ``of: SCENARIO`` among them.
        rows: The rows by their names.
        seeds: Each row is trained once with each.
        options: Settings of all rows.
        pages: Where results are shown, by the names of markers.
        results: Folder of the results that are kept.
        work_dirs: Folder of the runs' work_dirs.
    """

    name: str
    config: str
    scenarios: Mapping[str, Options]
    rows: Mapping[str, Row]
    model: Optional[str] = None
    seeds: Sequence[Number] = (0, )
    options: Options = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    results: str = 'docs/results'
    work_dirs: str = 'work_dirs/tables'


@dataclass(frozen=True)
class Entry:
    """One training of a table: a row on a scenario with a seed."""

    row: str
    scenario: str
    seed: int

    def __str__(self) -> str:
        return f'{self.scenario}/{self.row}_seed{self.seed}'


def read_table(file: PathLike) -> Table:
    """Read a table.

    Raises:
        ValueError: It is no table; names the key, what was got and what is
            valid.
    """
    try:
        values = _dict(yaml.safe_load(Path(file).read_text()), str(file))
    except yaml.YAMLError as error:
        raise ValueError(f'{file} is not YAML: {error}') from error
    rows: Dict[str, Row] = {}
    for name, row in _dict(values.get('rows'), f'{file}: rows').items():
        rows.update(_varied(name, _row(name, row or {}, f'{file}: rows.{name}')))
    pages = {name: make(Page, _dict(page, f'{file}: pages.{name}'), f'{file}: pages.{name}')
             for name, page in _dict(values.get('pages', {}), f'{file}: pages').items()}
    scenarios = {name: options or {} for name, options in _dict(values.get('scenarios'), f'{file}: scenarios').items()}
    table = make(Table, dict(values, rows=rows, pages=pages, scenarios=scenarios), str(file), name=Path(file).stem)
    _check_names(table, str(file))
    return table


def entries_of(table: Table, rows: Optional[Collection[str]] = None, seeds: Optional[Collection[int]] = None,
               scenarios: Optional[Collection[str]] = None) -> List[Entry]:
    """The trainings of a table, or those of some rows, seeds and scenarios.

    Args:
        table: The table.
        rows: Names of rows, as they stand in the file: one that varies stands
            for all that it varies into.
        seeds: Seeds.
        scenarios: Names of scenarios.

    Raises:
        ValueError: There is no such row or scenario; names the nearest.
    """
    for kind, names, valid in (('row', rows, {*table.rows, *map(stem, table.rows)}), ('scenario', scenarios, table.scenarios)):
        for name in names or ():
            if name not in valid:
                raise ValueError(f'table {table.name}: there is no {kind} {name!r}{did_you_mean(name, valid)}; valid are '
                                 f'{", ".join(dict.fromkeys(map(stem, valid)))}.')
    return [Entry(name, scenario, seed)
            for scenario in table.scenarios if not scenarios or scenario in scenarios
            for name, row in table.rows.items() if not rows or name in rows or stem(name) in rows
            if row.scenarios is None or scenario in row.scenarios
            for seed in (table.seeds if row.seeds is None else row.seeds) if not seeds or seed in seeds]


def stem(name: str) -> str:
    """The name of a row as it stands in the file."""
    return name.partition('@')[0]


def _dict(node: Any, place: str) -> Dict[str, Any]:
    if not isinstance(node, dict) or not all(isinstance(key, str) for key in node):
        raise ValueError(f'{place}: got {short(node)}, expected a mapping with names for keys.')
    return dict(node)


def _row(name: str, node: Any, place: str) -> Row:
    return make(Row, {'title': name, 'method': name, **_dict(node, place)}, place)


def _varied(name: str, row: Row) -> Iterator[Tuple[str, Row]]:
    """A row for each combination of what it varies."""
    for values in product(*row.vary.values()):
        changes = dict(zip(row.vary, values))
        said = [f'{key.rpartition(".")[2]}={value}' for key, value in changes.items()]
        yield '@'.join([name, *said]), replace(row, title=', '.join([row.title, *said]), options={**row.options, **changes},
                                               vary={})


def _check_names(table: Table, place: str) -> None:
    for name, page in table.pages.items():
        if page.scenario not in table.scenarios:
            raise ValueError(f'{place}: pages.{name}.scenario: got {page.scenario!r}, valid are {", ".join(table.scenarios)}.')
        for row in page.rows or ():
            if row not in map(stem, table.rows):
                raise ValueError(f'{place}: pages.{name}.rows: there is no row {row!r}{did_you_mean(row, table.rows)}.')
    for name, row_ in table.rows.items():
        for scenario in row_.scenarios or ():
            if scenario not in table.scenarios:
                raise ValueError(f'{place}: rows.{stem(name)}.scenarios: got {scenario!r}, valid are '
                                 f'{", ".join(table.scenarios)}.')
