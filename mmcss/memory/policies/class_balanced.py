"""Policies that store as many images of each class: SSUL's and SATS's."""
from __future__ import annotations

from typing import List

import numpy as np
from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Policy, Pool, in_turns


@MEMORY_POLICIES.register_module('class_balanced')
class ClassBalanced(Policy):
    """As many images for each class, drawn in turns (SSUL, Cha et al., NeurIPS 2021).

    Images and classes are shuffled; in each turn a class takes its first
    image that no class has taken.
    Authors' code: https://github.com/clovaai/SSUL
    """

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        order, classes = np.arange(len(pool.holds)), np.arange(pool.holds.shape[1])
        random.shuffle(order)
        random.shuffle(classes)
        return in_turns([iter(order[pool.holds[order, c]].tolist()) for c in classes], size)


@MEMORY_POLICIES.register_module('first')
class First(Policy):
    """As many images for each class, its first ones in the order of the data set (SATS's released code).

    Classes take turns, and pass over an image that another class has taken.
    Authors' code: https://github.com/QIU023/SATS_Continual_Semantic_Seg
    """

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        return in_turns([iter(np.flatnonzero(holds).tolist()) for holds in pool.holds.T], size)
