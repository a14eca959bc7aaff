"""Writes the page of runs, its Markdown and its CSV files."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from ..evaluation import comparison_notes
from ..files import PathLike, written_whole
from . import charts
from .collect import NamedDir, Run, read_runs
from .tables import Table, classes_csv, method_table, run_table, scores_csv, step_table, taken_table, text_of

if TYPE_CHECKING:
    from .pictures import Pictures

PAGE = 'report.html'


@dataclass(frozen=True)
class RunPart:
    """What a page shows of one run."""

    run: Run
    steps: Table
    taken: Optional[Table]
    matrix: Figure
    confusion: Optional[Figure]
    losses: Optional[Figure]
    rates: Optional[Figure]


def write_report(work_dirs: Sequence[NamedDir], out: PathLike, images: int = 0, device: str = 'cpu') -> Path:
    """Write ``report.html``, ``report.md``, ``scores.csv`` and ``classes.csv``.

    Args:
        work_dirs: Of the runs, each with a name or None; runs of one name are of one method.
        out: The folder to write to.
        images: How many test images are shown with what each step predicts for them; their models are run for it.
        device: Where they are run.

    Returns:
        The path of ``report.html``.

    Raises:
        FileNotFoundError: A folder has no results; or images are to be shown, and those of a run are gone.
        ValueError: A file is damaged, or a folder is given twice.
    """
    runs = read_runs(work_dirs)
    pictures = None
    if images:
        from .pictures import draw_pictures  # MMSegmentation's models, which the other parts do without
        pictures = draw_pictures(runs, images, device)
    texts = {PAGE: html(runs, pictures), 'report.md': markdown(runs), 'scores.csv': scores_csv(runs),
             'classes.csv': classes_csv(runs)}
    for name, text in texts.items():
        with written_whole(Path(out) / name) as file:
            file.write(text.encode())
    return Path(out) / PAGE


def html(runs: Sequence[Run], pictures: Optional[Pictures] = None) -> str:
    """The page; it refers to nothing outside of itself."""
    environment = Environment(loader=PackageLoader('mmcss.report'), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(text=text_of, figure=_json_of)
    numbers, over = count(), method_table(runs)
    return environment.get_template('page.html').render(
        runs=runs, table=run_table(runs), methods=over, notes=_notes(runs), pictures=pictures,
        names={key: name.format(runs[0].kind) for key, name in charts.SCORE_NAMES.items()}, parts=[_part(run) for run in runs],
        curves=_charts(runs, charts.score_curves, ('all', 'old', 'new')),
        boxes=_charts(runs, charts.score_boxes, ('all', 'average', 'forgetting')) if over else {},
        classes=charts.class_bars(runs), costs=_costs(runs), versions=_versions(runs), number=lambda: next(numbers),
        written=datetime.now().strftime('%Y-%m-%d %H:%M'), plotly=Markup(get_plotlyjs()))


def markdown(runs: Sequence[Run]) -> str:
    """The tables of the page."""
    lines = ['# Results', '', run_table(runs).markdown(), '']
    over = method_table(runs)
    if over:
        lines += ['Means and standard deviations over the runs of each method:', '', over.markdown(), '']
    lines += [f'- {note}' for note in _notes(runs)] + ([''] if _notes(runs) else [])
    for run in runs:
        lines += [f'## {run.name}', '', step_table(run).markdown(), '']
        taken = taken_table(run.last)
        if taken:
            lines += [f'Which class took which pixels, after step {run.last.step}:', '', taken.markdown(), '']
    return '\n'.join(lines)


def _notes(runs: Sequence[Run]) -> List[str]:
    return comparison_notes({run.name: run.results for run in runs})


def _part(run: Run) -> RunPart:
    losses = charts.losses_of(run)
    return RunPart(
        run, step_table(run), taken_table(run.last), charts.step_matrix(run), charts.confusion_map(run.last),
        charts.training_curves(run, losses) if losses else None,
        charts.training_curves(run, ['lr']) if losses else None)


def _charts(runs: Sequence[Run], draw: Callable[[Sequence[Run], str], Figure], keys: Sequence[str]) -> Dict[str, Figure]:
    """A chart for each of the scores that any run has."""
    known = [key for key in keys if any(step.means.get(key) is not None for run in runs for step in run.steps)
             or any(run.scores[key] is not None for run in runs)]
    return {key: draw(runs, key) for key in known}


def _costs(runs: Sequence[Run]) -> Dict[str, Figure]:
    """Charts of the time and the memory of each step, where they are known."""
    minutes = {run.name: [step.seconds and step.seconds / 60 for step in run.steps] for run in runs}
    memory = {run.name: [step.memory and step.memory / 1024 for step in run.steps] for run in runs}
    found = {'time of each step': (minutes, 'minutes'), 'most memory of a GPU': (memory, 'GiB')}
    return {title: charts.cost_bars(runs, values, unit) for title, (values, unit) in found.items() if any(_flat(values))}


def _flat(values: Mapping[str, Sequence[Optional[float]]]) -> Iterator[Optional[float]]:
    return (value for steps in values.values() for value in steps)


def _versions(runs: Sequence[Run]) -> Table:
    """The versions that the last step of each run was trained with."""
    names = list(dict.fromkeys(name for run in runs for name in run.last.versions))
    return Table(['run', *names], [[run.name, *(run.last.versions.get(name) for name in names)] for run in runs])


def _json_of(figure: Figure) -> Markup:
    """A figure as JSON within a script element; Plotly escapes what would end it."""
    return Markup(figure.to_json())
