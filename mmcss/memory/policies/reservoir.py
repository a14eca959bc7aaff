"""Reservoir sampling (Vitter, 1985)."""
from __future__ import annotations

from typing import List

from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Pool, StreamPolicy


@MEMORY_POLICIES.register_module('reservoir')
class Reservoir(StreamPolicy):
    """Each image of the whole stream as likely as another (Vitter, 1985)."""

    def insert(self, stored: List[int], image: int, pool: Pool, size: int, random: RandomState) -> List[int]:
        if len(stored) < size:
            return [*stored, image]
        slot = random.randint(pool.images_seen)
        return [*stored[:slot], image, *stored[slot + 1:]] if slot < size else stored
