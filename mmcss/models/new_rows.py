"""How the rows of new classes start.

An initialiser changes ``rows`` in place: ``[num_seen, ...]``, classes first,
old rows already copied, new rows as the stock model initialises them.
"""
from __future__ import annotations

import math
from typing import Callable, Dict

from torch import Tensor


def keep_random(name: str, rows: Tensor, num_old: int) -> None:
    """Leave new rows as the stock model initialised them."""


def share_background(name: str, rows: Tensor, num_old: int) -> None:
    """MiB's balanced initialisation (Cermelli et al., CVPR 2020, eq. 9 and 10).

    New rows copy the background's. Its probability is split evenly between
    itself and the new classes: all their biases are lowered by
    ln(new classes + 1), the old background's too.
    """
    rows[num_old:] = rows[:1]
    if rows.dim() == 1 and name.endswith('bias'):
        share = math.log(len(rows) - num_old + 1)
        rows[0] -= share
        rows[num_old:] -= share


NEW_ROWS: Dict[str, Callable[[str, Tensor, int], None]] = {'random': keep_random, 'background': share_background}
