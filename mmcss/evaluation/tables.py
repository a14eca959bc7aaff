"""Results as printed tables."""
from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

from prettytable import PrettyTable, TableStyle

from .results import MEANS, step_means


def class_table(report: Mapping[str, Any]) -> str:
    """IoU and accuracy of each class, and the means, of one step."""
    rows = [[name, _number(iou), _number(acc)] if scored else [name, 'not scored', '']
            for name, iou, acc, scored in zip(report['classes'], report['IoU'], report['Acc'], report['scored'])]
    rows += [[name, _number(report[name]), ''] for name in MEANS.values() if name in report]
    return _table(['class', 'IoU', 'Acc'], rows)


def steps_table(results: Mapping[str, Any], markdown: bool = False) -> str:
    """Means of :func:`summarise`, one row a step; ``markdown`` is GitHub's table syntax instead of a framed table."""
    rows = [[step['step'], step['num_test_images'], *map(_number, step_means(step).values())]
            for step in results['steps']]
    return _table(['step', 'test images', 'old', 'new', 'all'], rows, markdown)


def matrix_table(results: Mapping[str, Any]) -> str:
    """IoU of each class (mIoU of each domain) after each step, and its forgetting, one row each."""
    steps = [f"step {step['step']}" for step in results['steps']]
    rows = [[name, *map(_number, row), _number(results['forgetting'][name])]
            for name, row in results['matrix'].items()]
    return _table([results['matrix_of'], *steps, 'forgetting'], rows)


def compare_table(runs: Mapping[str, Mapping[str, Any]], markdown: bool = True) -> str:
    """Final old, new, all, the average over steps and mean forgetting: one row a run."""
    rows = []
    for name, results in runs.items():
        last = results['steps'][-1]
        rows.append([name, *map(_number, step_means(last).values()),
                     _number(results['average']), _number(results['mean_forgetting'])])
    return _table(['method', 'old', 'new', 'all', 'avg', 'forgetting'], rows, markdown)


def comparison_notes(runs: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """Why rows of :func:`compare_table` can't be compared; a joint run can, with any scenario of the same classes."""
    notes = []
    for name, results in runs.items():
        finished, steps = len(results['steps']), len(results['scenario'])
        if finished < steps:
            notes.append(f'{name} has finished steps 0 to {finished - 1} of 0 to {steps - 1}.')
    protocols = {name: results['protocol_name'] for name, results in runs.items()}
    if any(results['protocol'] != runs[first]['protocol'] for first in runs for results in runs.values()):
        notes.append(f'they were tested under different protocols: {_listed(protocols)}.')
    scenarios = {name: [len(step) for step in results['scenario']] for name, results in runs.items()}
    in_steps = [results['scenario'] for results in runs.values() if len(results['scenario']) > 1]
    learned = [sorted(sum(results['scenario'], [])) for results in runs.values()]
    if any(other != in_steps[0] for other in in_steps) or any(other != learned[0] for other in learned):
        counts = list(scenarios.values())
        notes.append('they learn the same classes or domains in other orders.'
                     if all(other == counts[0] for other in counts) and all(other == learned[0] for other in learned)
                     else f'they are of different scenarios (classes or domains of each step): {_listed(scenarios)}.')
    return notes


def _listed(values: Mapping[str, Any]) -> str:
    return ', '.join(f'{name} {value}' for name, value in values.items())


def _table(header: Sequence[str], rows: List[List[Any]], markdown: bool = False) -> str:
    table = PrettyTable(header, align='r')
    table.align[header[0]] = 'l'
    table.add_rows(rows)
    if markdown:
        table.set_style(TableStyle.MARKDOWN)
    return table.get_string()


def _number(value: Optional[float]) -> str:
    return '-' if value is None or value != value else f'{value:.2f}'
