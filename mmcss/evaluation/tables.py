"""Results as printed tables."""
from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

from prettytable import PrettyTable, TableStyle


def class_table(report: Mapping[str, Any]) -> str:
    """IoU and accuracy of each class, and the means, of one step."""
    rows = [[name, _number(iou), _number(acc)] if scored else [name, 'not scored', '']
            for name, iou, acc, scored in zip(report['classes'], report['IoU'], report['Acc'], report['scored'])]
    rows += [[name, _number(report[name]), ''] for name in ('mIoU_old', 'mIoU_new', 'mIoU') if name in report]
    return _table(['class', 'IoU', 'Acc'], rows)


def steps_table(results: Mapping[str, Any], markdown: bool = False) -> str:
    """Means after each step: one row a step.

    Args:
        results: What :func:`summarise` gives.
        markdown: GitHub's table syntax instead of a framed one.
    """
    rows = [[step['step'], step['num_test_images'], *(_number(step.get(key)) for key in ('mIoU_old', 'mIoU_new', 'mIoU'))]
            for step in results['steps']]
    return _table(['step', 'test images', 'old', 'new', 'all'], rows, markdown)


def matrix_table(results: Mapping[str, Any]) -> str:
    """IoU of each class (mIoU of each domain) after each step, its best so far minus now, one row each."""
    steps = [f"step {step['step']}" for step in results['steps']]
    rows = [[name, *map(_number, row), _number(results['forgetting'][name])]
            for name, row in results['matrix'].items()]
    return _table([results['matrix_of'], *steps, 'forgetting'], rows)


def compare_table(runs: Mapping[str, Mapping[str, Any]], markdown: bool = True) -> str:
    """Final old, new, all, the average over steps and mean forgetting: one row a run."""
    rows = []
    for name, results in runs.items():
        last = results['steps'][-1]
        rows.append([name, *(_number(last.get(key)) for key in ('mIoU_old', 'mIoU_new', 'mIoU')),
                     _number(results['average']), _number(results['mean_forgetting'])])
    return _table(['method', 'old', 'new', 'all', 'avg', 'forgetting'], rows, markdown)


def _table(header: Sequence[str], rows: List[List[Any]], markdown: bool = False) -> str:
    table = PrettyTable(header, align='r')
    table.align[header[0]] = 'l'
    table.add_rows(rows)
    if markdown:
        table.set_style(TableStyle.MARKDOWN)
    return table.get_string()


def _number(value: Optional[float]) -> str:
    return '-' if value is None or value != value else f'{value:.2f}'
