"""Checks which label each place of a config ignores."""
from __future__ import annotations

import re
from typing import Any, Iterator, Mapping, Tuple

from ..scenario import IGNORE, Split
from .config_nodes import values_of
from .stated_classes import leaf_configs

PADDINGS = ('seg_pad_val', 'seg_fill_in')
LOSS = r'(^|[._])loss([._\[]|$)'


def check_ignored_labels(config: Mapping[str, Any], split: Split) -> None:
    """Make sure that heads, losses, metrics and transforms ignore :data:`IGNORE`, to which mmcss maps ignored labels.

    Args:
        config: A step's config. Its stock data sets may ignore other values, which are mapped.
        split: The step. Padding may also be background, if there is one.

    Raises:
        ValueError: Names the place that ignores another label.
    """
    for place, key, value in _ignored_labels(config):
        if value == IGNORE or not isinstance(value, int) or isinstance(value, bool):
            continue
        if key == 'ignore_index':
            raise ValueError(f'{place}: got {value}, expected {IGNORE}: mmcss maps ignored labels of the data set (its own '
                             f'ignore_index may be another) to {IGNORE}.')
        if value != 0 or split.background is None:
            valid = f'{IGNORE} (ignored)' + ('' if split.background is None else ' or 0 (background)')
            raise ValueError(f"{place}: got {value}, expected {valid}: labels are mapped to each step's classes before they "
                             'are padded.')


def _ignored_labels(config: Mapping[str, Any]) -> Iterator[Tuple[str, str, Any]]:
    """Place, key and value of each ignored label in a config."""
    sections = [(key, config.get(key)) for key in ('model', 'val_evaluator', 'test_evaluator')]
    sections += [(f'{role}_dataloader.dataset.pipeline', leaf.get('pipeline')) for role in ('train', 'val', 'test')
                 for leaf in leaf_configs((config.get(f'{role}_dataloader') or {}).get('dataset', {}))]
    for section, node in sections:
        for place, value in values_of(node, section):
            key = place.rpartition('.')[2]
            # follow_classes checks those of losses, which may be classes.
            if (key in ('ignore_index', *PADDINGS) or place.endswith('.pad_val.seg')) and not re.search(LOSS, place):
                yield place, key, value
