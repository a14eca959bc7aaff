"""How the rows of new classes start.

An initialiser changes ``rows`` in place: ``[channels, ...]``, classes first,
old rows already copied, ``new`` rows as the stock model initialises them.
"""
from __future__ import annotations

import math
from typing import Callable, Dict

from torch import Tensor


def keep_random(name: str, rows: Tensor, new: slice) -> None:
    """Leave new rows as the stock model initialised them."""


def share_background(name: str, rows: Tensor, new: slice) -> None:
    """MiB's balanced initialisation (Cermelli et al., CVPR 2020, eq. 9 and 10).

    New rows copy the background's. Its probability is split evenly between
    itself and the new classes: all their biases are lowered by
    ln(new classes + 1), the old background's too.
    """
    rows[new] = rows[:1]
    # Each output of EncNet's se_layer is the presence of a class by itself: nothing is shared.
    if rows.dim() == 1 and name.endswith('bias') and not name.endswith('se_layer.bias'):
        share = math.log(new.stop - new.start + 1)
        rows[0] -= share
        rows[new] -= share


def copy_background(name: str, rows: Tensor, new: slice) -> None:
    """New rows copy the background's: with a sigmoid for each class nothing is shared."""
    rows[new] = rows[:1]


def copy_unknown(name: str, rows: Tensor, new: slice) -> None:
    """SSUL's weight transfer (Cha et al., NeurIPS 2021, section 3.3): new rows copy the unknown's, the last one."""
    if new.stop == len(rows):
        raise ValueError("continual.new_rows: 'unknown' needs a model with an unknown class (continual.unknown).")
    rows[new] = rows[-1:]


DEFAULT_NEW_ROWS = 'random'
NEW_ROWS: Dict[str, Callable[[str, Tensor, slice], None]] = {
    DEFAULT_NEW_ROWS: keep_random,
    'background': share_background,
    'copy_background': copy_background,
    'unknown': copy_unknown,
}
