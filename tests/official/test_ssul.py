import numpy as np

from mmcss.official.ssul import unshifted
from mmcss.scenario import IGNORE, Split
from tests.makers import split_of

# Learning order: background, b, a, d, c.
STEPS = (('b', 'a'), ('d', ), ('c', ))


def test_unshifted_table():
    split = Split.from_dict(split_of(STEPS, 1))
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[:6] = [0, 1, 2, 3, 0, 255]
    found = unshifted(table, split)
    assert found.dtype == np.uint8
    assert found[:6].tolist() == [4, 0, 1, 2, 4, 255]
    assert (found[6:] == IGNORE).all()
    assert table[:6].tolist() == [0, 1, 2, 3, 0, 255]
