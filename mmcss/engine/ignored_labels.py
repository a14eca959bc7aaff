"""Every place of a config that says which label is ignored."""
from __future__ import annotations

from typing import Any, Iterator, Mapping, Tuple

from ..scenario import IGNORE, Split
from .stated_classes import leaf_configs

PADDINGS = ('seg_pad_val', 'seg_fill_in')


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
    for key in ('model', 'val_evaluator', 'test_evaluator'):
        yield from _below(config.get(key), key)
    for role in ('train', 'val', 'test'):
        for leaf in leaf_configs((config.get(f'{role}_dataloader') or {}).get('dataset', {})):
            yield from _below(leaf.get('pipeline'), f'{role}_dataloader.dataset.pipeline')


def _below(node: Any, place: str) -> Iterator[Tuple[str, str, Any]]:
    if isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _below(value, f'{place}[{number}]')
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if 'loss' in key.split('_'):  # those of losses may be classes, and are told by follow_classes
            continue
        if key == 'ignore_index' or key in PADDINGS:
            yield f'{place}.{key}', key, value
        elif key == 'pad_val' and isinstance(value, Mapping):
            yield f'{place}.pad_val.seg', 'pad_val', value.get('seg', IGNORE)
        else:
            yield from _below(value, f'{place}.{key}')
