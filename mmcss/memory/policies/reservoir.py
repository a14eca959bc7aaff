"""Reservoir sampling (Vitter, 1985)."""
from __future__ import annotations

from typing import List

from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Pool, StreamPolicy


@MEMORY_POLICIES.register_module('reservoir')
class Reservoir(StreamPolicy):
    """Each image of the whole stream as likely as another (Vitter, 1985)."""

    def insert(self, kept: List[int], image: int, pool: Pool, size: int, random: RandomState) -> List[int]:
        if len(kept) < size:
            return [*kept, image]
        slot = random.randint(pool.images_seen)
        return [*kept[:slot], image, *kept[slot + 1:]] if slot < size else kept
