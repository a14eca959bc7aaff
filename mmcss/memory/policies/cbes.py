"""The policy of online EM."""
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

    def insert(self, stored: List[int], image: int, pool: Pool, size: int, random: RandomState) -> List[int]:
        holds = pool.holds
        classes = np.flatnonzero(holds[image])
        if not len(classes) or size < 1:
            return stored
        counts = holds[stored].sum(axis=0) if stored else np.zeros(holds.shape[1], dtype=int)
        if len(stored) < size:
            return [*stored, image]
        if not counts.any():
            return stored
        if counts[classes].min() < size / len(counts):
            largest = np.flatnonzero(counts == counts.max())
            return _swapped(stored, image, holds, random.choice(largest), random)
        for c in random.permutation(classes):
            if counts[c] and random.uniform() <= counts[c] / pool.classes_seen[c]:
                return _swapped(stored, image, holds, c, random)
        return stored


def _swapped(stored: List[int], image: int, holds: np.ndarray, c: int, random: RandomState) -> List[int]:
    """``stored`` with a random image of class ``c`` exchanged for ``image``."""
    out = random.choice([candidate for candidate in stored if holds[candidate, c]])
    return [image if candidate == out else candidate for candidate in stored]
