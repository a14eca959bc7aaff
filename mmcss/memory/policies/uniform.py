"""Any images."""
from __future__ import annotations

from typing import List

from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Policy, Pool


@MEMORY_POLICIES.register_module('random')
class Uniform(Policy):
    """Any images, each as likely as another."""

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        return random.permutation(len(pool.holds))[:size].tolist()
