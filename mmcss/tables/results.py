"""Results of a table's runs that are kept beside its pages, and the pages."""
from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List, Mapping, Optional, Sequence

from prettytable import PrettyTable, TableStyle

from ..evaluation import MEANS
from ..files import read_json, write_json
from ..version import versions
from .entries import Job
from .schedule import SECONDS
from .table import Entry, Page, Table, stem


def result_file(table: Table, entry: Entry) -> Path:
    """Where the result of an entry is kept."""
    return Path(table.results) / table.name / f'{entry}.json'


def keep_result(table: Table, job: Job, entry: Entry) -> Dict[str, Any]:
    """Keep what a run has found, with what it was: its settings, versions and time; the result."""
    row = table.rows[entry.row]
    seconds = [int(line) for line in (job.work_dir / SECONDS).read_text().split()]
    result = dict(
        title=row.title, method=row.method, scenario_name=entry.scenario, seed=entry.seed,
        options={**table.options, **table.scenarios[entry.scenario], **row.options},
        config=job.digest, first_step=job.first_step, minutes=round(sum(seconds) / 60, 1), versions=versions(),
        **read_json(job.work_dir / 'results.json'))
    file = result_file(table, entry)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return result


def kept_result(table: Table, entry: Entry, digest: Optional[str] = None) -> Optional[Dict[str, Any]]:
    """The whole result of an entry, None where there is none, or, with a digest, one of another config."""
    file = result_file(table, entry)
    if not file.is_file():
        return None
    result = read_json(file)
    whole = len(result['steps']) == len(result['scenario'])
    return result if whole and digest in (None, result['config']) else None


def write_pages(table: Table, entries: Sequence[Entry]) -> List[str]:
    """Write the parts of Markdown files that show a table's results.

    Args:
        table: The table.
        entries: All of its entries.

    Returns:
        The files that were written.

    Raises:
        ValueError: A file does not have the markers of a part.
    """
    for name, page in table.pages.items():
        file, begin, end = Path(page.file), f'<!-- results: {name} -->', f'<!-- end of {name} -->'
        text = file.read_text()
        if not 0 <= text.find(begin) < text.find(end):
            raise ValueError(f'{file}: there are no lines {begin!r} and, behind it, {end!r}, between which the table is put.')
        before, rest = text.split(begin, 1)
        _, after = rest.split(end, 1)
        file.write_text(f'{before}{begin}\n{page_text(table, page, entries)}\n{end}{after}')
    return list(dict.fromkeys(page.file for page in table.pages.values()))


def page_text(table: Table, page: Page, entries: Sequence[Entry]) -> str:
    """Markdown of the results on one scenario: a row for each row of the table, means and deviations over seeds."""
    shown = PrettyTable(['method', *MEANS, 'avg', 'forgetting', 'runs', 'min'], align='r')
    shown.align['method'] = 'l'
    shown.set_style(TableStyle.MARKDOWN)
    notes: List[str] = []
    names = [name for name in table.rows if page.rows is None or stem(name) in page.rows]
    if page.rows is not None:
        names.sort(key=lambda name: list(page.rows or ()).index(stem(name)))
    for name in names:
        row = table.rows[name]
        wanted = [entry for entry in entries if entry.row == name and entry.scenario == page.scenario]
        results = [result for result in (kept_result(table, entry) for entry in wanted) if result]
        if not wanted:
            continue
        notes += [f'{row.title}: {row.note}'] if row.note else []
        if len(results) < len(wanted):
            notes.append(f'{row.title}: {len(results)} of {len(wanted)} runs are trained so far.')
        shown.add_row([row.title, *_values(results), f'{len(results)}', _spread([result['minutes'] for result in results])])
    return '\n'.join(['', shown.get_string(), '', *(f'- {note}' for note in notes), *([''] if notes else [])])


def _values(results: Sequence[Mapping[str, Any]]) -> List[str]:
    last = [[result['steps'][-1].get(key) for result in results] for key in MEANS.values()]
    means = [[result[key] for result in results] for key in ('average', 'mean_forgetting')]
    return [_spread(values) for values in [*last, *means]]


def _spread(values: Sequence[Optional[float]]) -> str:
    """Mean of some values, and their standard deviation where there are several."""
    known = [value for value in values if value is not None and value == value]
    if not known:
        return '-'
    text = f'{mean(known):.1f}'
    return f'{text} ± {stdev(known):.1f}' if len(known) > 1 else text
