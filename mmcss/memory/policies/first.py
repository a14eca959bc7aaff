"""The memory of SATS's released code."""
from __future__ import annotations

from typing import List

import numpy as np
from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Policy, Pool, in_turns


@MEMORY_POLICIES.register_module('first')
class First(Policy):
    """As many images for each class, its first ones in the order of the data set (SATS's released code).

    Classes take turns, and pass over an image that another class has taken.
    Authors' code: https://github.com/QIU023/SATS_Continual_Semantic_Seg
    """

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        return in_turns([iter(np.flatnonzero(holds).tolist()) for holds in pool.holds.T], size)
