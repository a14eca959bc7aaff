"""Results over the steps of a scenario."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

PER_CLASS = ('IoU', 'Acc', 'scored', 'domains', 'confusion', 'palette')

# The means of a step: what tables call them, and their keys in its result.
MEANS = {'old': 'mIoU_old', 'new': 'mIoU_new', 'all': 'mIoU'}


def step_means(result: Mapping[str, Any]) -> Dict[str, Optional[float]]:
    """``old``, ``new`` and ``all`` of a step's result, in percent; None where it has no such classes."""
    return {name: result.get(key) for name, key in MEANS.items()}


def means_text(result: Mapping[str, Any]) -> str:
    """The means that a step's result has, in a line: 'old 40.1, new 20.0, all 33.3'."""
    return ', '.join(f'{name} {value:.1f}' for name, value in step_means(result).items() if value is not None)


def summarise(steps: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """Summarise the results of the steps.

    Args:
        steps: ``result.json`` of each step in order: ``step``, ``classes``,
            ``IoU`` (percent or None), ``mIoU`` and the rest.

    Returns:
        - ``steps``: the results without their values per class,
        - ``matrix``: IoU by class name, one value a step, None for a future class or one without pixels; in a scenario of
          domains the mIoU by name of the domain (``domains`` of the results),
        - ``matrix_of``: 'class' or 'domain',
        - ``forgetting``: by the same names, the best IoU so far minus the last one (at least 0; None with fewer than two
          values),
        - ``mean_forgetting``: its mean over the classes that have one,
        - ``average``: mean of ``mIoU`` over the steps (the papers' "avg").
    """
    matrix: Dict[str, List[Optional[float]]] = {}
    for column, step in enumerate(steps):
        for name, value in _row_values(step).items():
            matrix.setdefault(name, [None] * len(steps))[column] = value
    forgetting = {name: _forgetting(row) for name, row in matrix.items()}
    return dict(
        steps=[{key: value for key, value in step.items() if key not in PER_CLASS} for step in steps],
        matrix=matrix,
        matrix_of='domain' if steps and 'domains' in steps[0] else 'class',
        forgetting=forgetting,
        mean_forgetting=_mean(list(forgetting.values())),
        average=_mean([step['mIoU'] for step in steps]))


def _row_values(step: Mapping[str, Any]) -> Dict[str, Optional[float]]:
    """A step's column of the matrix, by name."""
    if 'domains' in step:
        return step['domains']
    return {name: value if scored else None for name, value, scored in zip(step['classes'], step['IoU'], step['scored'])}


def _mean(values: Sequence[Optional[float]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _forgetting(row: Sequence[Optional[float]]) -> Optional[float]:
    values = [value for value in row if value is not None]
    if len(values) < 2 or row[-1] is None:
        return None
    return round(max(values) - values[-1], 4)
