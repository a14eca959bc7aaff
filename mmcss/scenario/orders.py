"""Published orders in which classes are learned.

VOC's 'voc_b' to 'voc_w' are those of PLOP's code (Douillard et al., CVPR 2021;
https://github.com/arthurdouillard/CVPR2021_PLOP), whose tasks '15-5s_b' to
'15-5s_w' cut them as 15-1; 'voc_a' is the data set's own order, which has no
letter there. Twenty of the 23 are the random orders of the paper; its row of b
ends with a second 5 in place of 10, a slip.
"""
from __future__ import annotations

from typing import Dict, Tuple

# Positions in the data set's list, counted from 1; 0 is the background.
CLASS_ORDERS: Dict[str, Tuple[int, ...]] = {
    'voc_a': tuple(range(1, 21)),
    'voc_b': (12, 9, 20, 7, 15, 8, 14, 16, 5, 19, 4, 1, 13, 2, 11, 17, 3, 6, 18, 10),
    'voc_c': (13, 19, 15, 17, 9, 8, 5, 20, 4, 3, 10, 11, 18, 16, 7, 12, 14, 6, 1, 2),
    'voc_d': (15, 3, 2, 12, 14, 18, 20, 16, 11, 1, 19, 8, 10, 7, 17, 6, 5, 13, 9, 4),
    'voc_e': (7, 5, 3, 9, 13, 12, 14, 19, 10, 2, 1, 4, 16, 8, 17, 15, 18, 6, 11, 20),
    'voc_f': (7, 13, 5, 11, 9, 2, 15, 12, 14, 3, 20, 1, 16, 4, 18, 8, 6, 10, 19, 17),
    'voc_g': (7, 5, 9, 1, 15, 18, 14, 3, 20, 10, 4, 19, 11, 17, 16, 12, 8, 6, 2, 13),
    'voc_h': (12, 9, 19, 6, 4, 10, 5, 18, 14, 15, 16, 3, 8, 7, 11, 13, 2, 20, 17, 1),
    'voc_i': (13, 10, 15, 8, 7, 19, 4, 3, 16, 12, 14, 11, 5, 20, 6, 2, 18, 9, 17, 1),
    'voc_j': (1, 14, 9, 5, 2, 15, 8, 20, 6, 16, 18, 7, 11, 10, 19, 3, 4, 17, 12, 13),
    'voc_k': (16, 13, 1, 11, 12, 18, 6, 14, 5, 3, 7, 9, 20, 19, 15, 4, 2, 10, 8, 17),
    'voc_l': (10, 7, 6, 19, 16, 8, 17, 1, 14, 4, 9, 3, 15, 11, 12, 2, 18, 20, 13, 5),
    'voc_m': (18, 4, 14, 17, 12, 10, 7, 3, 9, 1, 8, 15, 6, 13, 2, 5, 11, 20, 16, 19),
    'voc_n': (5, 4, 13, 18, 14, 10, 19, 15, 7, 9, 3, 2, 8, 16, 20, 1, 12, 11, 6, 17),
    'voc_o': (9, 12, 13, 18, 7, 1, 15, 17, 10, 8, 4, 5, 20, 16, 6, 14, 19, 11, 2, 3),
    'voc_p': (9, 12, 13, 18, 2, 11, 15, 17, 10, 8, 4, 5, 20, 16, 6, 14, 19, 1, 7, 3),
    'voc_q': (3, 14, 13, 18, 2, 11, 15, 17, 10, 8, 4, 5, 20, 16, 6, 12, 19, 1, 7, 9),
    'voc_r': (3, 14, 13, 1, 2, 11, 15, 17, 7, 8, 4, 5, 9, 16, 19, 12, 6, 18, 10, 20),
    'voc_s': (3, 14, 6, 1, 2, 11, 12, 17, 7, 20, 4, 5, 9, 16, 19, 15, 13, 18, 10, 8),
    'voc_t': (3, 15, 13, 1, 2, 11, 18, 17, 7, 20, 8, 5, 9, 16, 19, 14, 6, 12, 10, 4),
    'voc_u': (3, 15, 13, 14, 6, 11, 18, 17, 7, 20, 8, 4, 9, 16, 10, 1, 2, 12, 19, 5),
    'voc_v': (1, 2, 12, 14, 6, 19, 18, 17, 5, 20, 8, 4, 9, 16, 10, 3, 15, 13, 11, 7),
    'voc_w': (1, 2, 12, 14, 13, 19, 18, 7, 11, 20, 8, 4, 9, 16, 10, 3, 15, 6, 5, 17),
}

# The twenty orders that the paper's means and deviations are over; t, u and w stand in the code alone.
PLOP_PAPER_ORDERS: Tuple[str, ...] = tuple(name for name in CLASS_ORDERS if name not in ('voc_t', 'voc_u', 'voc_w'))


def class_order(name: str) -> Tuple[int, ...]:
    """One of :data:`CLASS_ORDERS`: positions in the data set's list of foreground classes, from 1, in learning order.

    Raises:
        ValueError: No order has this name.
    """
    if name not in CLASS_ORDERS:
        raise ValueError(f'scenario.class_order: got {name!r}, valid are a list of names or positions, or one of '
                         f'{", ".join(CLASS_ORDERS)}.')
    return CLASS_ORDERS[name]
