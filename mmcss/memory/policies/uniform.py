"""Policies to which all images are alike."""
from __future__ import annotations

from typing import List

from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Policy, Pool, StreamPolicy


@MEMORY_POLICIES.register_module('random')
class Uniform(Policy):
    """Any of the stored and the new images, each as likely as another."""

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        return random.permutation(len(pool.holds))[:size].tolist()


@MEMORY_POLICIES.register_module('reservoir')
class Reservoir(StreamPolicy):
    """Any images of the whole stream, each as likely as another (Vitter, 1985)."""

    def insert(self, stored: List[int], image: int, pool: Pool, size: int, random: RandomState) -> List[int]:
        if len(stored) < size:
            return [*stored, image]
        slot = random.randint(pool.images_seen)
        return [*stored[:slot], image, *stored[slot + 1:]] if slot < size else stored
