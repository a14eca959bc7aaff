"""The numbers of runs as rows, for pages and for CSV files."""
from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from prettytable import PrettyTable, TableStyle

from .collect import Run, Step

Cell = Union[str, int, float, None]
SCORES = ('old', 'new', 'all', 'average', 'forgetting')


@dataclass(frozen=True)
class Table:
    """A header and rows; floats are shown with one decimal, None as '-'."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """In GitHub's syntax."""
        table = PrettyTable(self.header, align='r')
        table.align[self.header[0]] = 'l'
        table.add_rows([[text_of(cell).replace('|', r'\|') for cell in row] for row in self.rows])
        table.set_style(TableStyle.MARKDOWN)
        return table.get_string()

    def csv(self) -> str:
        """With all digits; None is empty."""
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows([self.header, *self.rows])
        return text.getvalue()


def text_of(cell: Cell) -> str:
    """A cell as it is shown."""
    if cell is None:
        return '-'
    return f'{cell:.1f}' if isinstance(cell, float) else str(cell)


def run_table(runs: Sequence[Run]) -> Table:
    """The final scores of each run."""
    header = ['run', 'scenario', 'protocol', 'profile', 'seed', 'steps', *SCORES]
    return Table(header, [[run.name, run.scenario, run.results['protocol_name'], run.results['profile'], run.seed,
                           f'{len(run.steps)} of {len(run.results["scenario"])}', *(run.scores[key] for key in SCORES)]
                          for run in runs])


def methods(runs: Sequence[Run]) -> Dict[str, List[Run]]:
    """The runs of each method."""
    grouped: Dict[str, List[Run]] = {}
    for run in runs:
        grouped.setdefault(run.method, []).append(run)
    return grouped


def method_table(runs: Sequence[Run]) -> Optional[Table]:
    """Means and standard deviations over the runs of each method; None where each has but one."""
    grouped = methods(runs)
    if len(grouped) == len(runs):
        return None
    return Table(['method', 'runs', *SCORES], [
        [method, len(members), *(_spread([run.scores[key] for run in members]) for key in SCORES)]
        for method, members in grouped.items()])


def _spread(values: Sequence[Optional[float]]) -> Cell:
    known = [value for value in values if value is not None]
    return f'{mean(known):.1f} ± {stdev(known):.1f}' if len(known) > 1 else known[0] if known else None


def step_table(run: Run) -> Table:
    """The scores, time and memory of each step of a run."""
    header = ['step', 'test images', 'old', 'new', 'all', 'iterations', 'ms per iteration', 'minutes', 'GPU memory, GiB',
              f'new {run.kind}']
    return Table(header, [
        [step.step, step.num_test_images, *(step.means[key] for key in ('old', 'new', 'all')), *_cost(step),
         _few(step.entering)] for step in run.steps])


def _few(names: Sequence[str], most: int = 8) -> str:
    return ', '.join(names) if len(names) <= most else f'{", ".join(names[:most - 2])}, ... ({len(names)})'


def _cost(step: Step) -> List[Cell]:
    """Iterations, milliseconds of one (median), minutes, and GiB of a step."""
    times = [entry['time'] for entry in step.training if 'time' in entry]
    return [int(step.training[-1]['step']) if step.training else None,
            1000 * float(np.median(times)) if times else None,
            None if step.seconds is None else step.seconds / 60,
            None if step.memory is None else step.memory / 1024]


def taken_table(step: Step, most: int = 15) -> Optional[Table]:
    """The classes that took most of other classes' pixels, by the share of the pixels; None without a confusion matrix."""
    if step.confusion is None:
        return None
    shares = shares_of_labels(step.confusion)
    pairs = [(float(shares[label, other]), label, other) for label, other in zip(*np.nonzero(step.confusion))
             if label != other]
    kind = ['new' if name in step.entering and step.step else 'old' for name in step.classes]
    return Table(['pixels of', 'are taken for', 'classes', 'share, %', 'pixels'], [
        [step.classes[label], step.classes[other], f'{kind[label]} to {kind[other]}', share, int(step.confusion[label, other])]
        for share, label, other in sorted(pairs, key=lambda pair: -pair[0])[:most]])


def shares_of_labels(confusion: np.ndarray) -> np.ndarray:
    """``[C, C]`` the share of each label's pixels that are predicted as each class, in percent; NaN without labels."""
    total = confusion.sum(1, keepdims=True)
    return 100 * np.divide(confusion, total, out=np.full(confusion.shape, np.nan), where=total > 0)


def scores_csv(runs: Sequence[Run]) -> str:
    """A row for each step of each run."""
    rows: List[List[Any]] = [[run.name, run.method, run.scenario, run.results['protocol_name'], run.results['profile'], run.seed,
                              step.step, *(step.means[key] for key in ('old', 'new', 'all')), step.num_test_images,
                              step.seconds, step.memory] for run in runs for step in run.steps]
    return Table(['run', 'method', 'scenario', 'protocol', 'profile', 'seed', 'step', 'old', 'new', 'all', 'test_images',
                  'seconds', 'memory_mib'], rows).csv()


def classes_csv(runs: Sequence[Run]) -> str:
    """A row for each class that a step of a run has seen."""
    return Table(['run', 'step', 'class', 'IoU', 'Acc'], [
        [run.name, step.step, *values] for run in runs for step in run.steps
        for values in zip(step.classes, step.iou, step.accuracy)]).csv()
