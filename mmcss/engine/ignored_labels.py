"""Every place of a config that says which label is ignored."""
from __future__ import annotations

import re
from typing import Any, Iterator, Mapping, Tuple

from ..scenario import IGNORE, Split
from .config_nodes import values_of
from .stated_classes import leaf_configs

PADDINGS = ('seg_pad_val', 'seg_fill_in')
LOSS = r'(^|[._])loss([._\[]|$)'


def check_ignored_labels(config: Mapping[str, Any], split: Split) -> None:
    """See that heads, losses, metrics and transforms ignore what mmcss writes where a data set has labels to ignore.

    Args:
        config: A step's config. Its stock data sets may ignore other values,
            which are mapped.
        split: The step. What is padded may be background, if there is one.

    Raises:
        ValueError: Names the place that ignores another label.
    """
    for place, key, value in _stated(config):
        if value == IGNORE or not isinstance(value, int) or isinstance(value, bool):
            continue
        if key == 'ignore_index':
            raise ValueError(f"{place}: got {value}; set it to {IGNORE}. mmcss hands on each step's labels with {IGNORE} for "
                             "what is ignored; only a data set's own ignore_index may differ, and is mapped to it.")
        if value != 0 or split.background is None:
            valid = f'{IGNORE} (ignored)' + ('' if split.background is None else ' or 0 (background)')
            raise ValueError(f"{place}: got {value}, valid is {valid}. Labels are numbered as each step's classes before they "
                             'are padded.')


def _stated(config: Mapping[str, Any]) -> Iterator[Tuple[str, str, Any]]:
    """Place, key and value of all that a config says of ignored labels."""
    sections = [(key, config.get(key)) for key in ('model', 'val_evaluator', 'test_evaluator')]
    sections += [(f'{role}_dataloader.dataset.pipeline', leaf.get('pipeline')) for role in ('train', 'val', 'test')
                 for leaf in leaf_configs((config.get(f'{role}_dataloader') or {}).get('dataset', {}))]
    for section, node in sections:
        for place, value in values_of(node, section):
            key = place.rpartition('.')[2]
            # Those of losses may be classes, and are told by follow_classes.
            if (key in ('ignore_index', *PADDINGS) or place.endswith('.pad_val.seg')) and not re.search(LOSS, place):
                yield place, key, value
