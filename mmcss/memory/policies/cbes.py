"""Class-balanced exemplar selection of a stream (online EM, Yan et al., ACM MM 2021)."""
from __future__ import annotations

from typing import List

import numpy as np
from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Pool, StreamPolicy


@MEMORY_POLICIES.register_module('cbes')
class ClassBalancedStream(StreamPolicy):
    """Class-balanced exemplar selection of a stream (Yan et al., ACM MM 2021, algorithm 2).

    What the paper leaves open: an image without a class is not stored; ties
    are broken at random; classes are tried in random order; a class without
    stored images makes no room.
    """

    def insert(self, kept: List[int], image: int, pool: Pool, size: int, random: RandomState) -> List[int]:
        holds = pool.holds
        own = np.flatnonzero(holds[image])
        if not len(own) or size < 1:
            return kept
        counts = holds[kept].sum(axis=0) if kept else np.zeros(holds.shape[1], dtype=int)
        if len(kept) < size:
            return [*kept, image]
        if not counts.any():
            return kept
        if counts[own].min() < size / len(counts):
            largest = np.flatnonzero(counts == counts.max())
            return _swapped(kept, image, holds, random.choice(largest), random)
        for c in random.permutation(own):
            if counts[c] and random.uniform() <= counts[c] / pool.classes_seen[c]:
                return _swapped(kept, image, holds, c, random)
        return kept


def _swapped(kept: List[int], image: int, holds: np.ndarray, c: int, random: RandomState) -> List[int]:
    """``kept`` with a random image of class ``c`` exchanged for ``image``."""
    out = random.choice([one for one in kept if holds[one, c]])
    return [image if one == out else one for one in kept]
