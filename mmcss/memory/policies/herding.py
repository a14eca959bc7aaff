"""iCaRL's memory (Rebuffi et al., CVPR 2017)."""
from __future__ import annotations

from typing import Iterator, List

import numpy as np
from numpy.random import RandomState

from .policy import MEMORY_POLICIES, Policy, Pool, in_turns


@MEMORY_POLICIES.register_module('herding')
class Herding(Policy):
    """Images whose mean feature stays closest to the class's (iCaRL, Rebuffi et al., CVPR 2017, algorithm 4).

    An image's feature for a class is the mean over the class's pixels.
    Classes take turns; what another class has taken counts for both.
    """

    uses_features = True

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        return in_turns([_ranked(pool, c) for c in pool.present], size)


def _ranked(pool: Pool, c: int) -> Iterator[int]:
    members, features = np.flatnonzero(pool.holds[:, c]), pool.class_features[c]
    mean, total = features.mean(axis=0), np.zeros(features.shape[1])
    distance = np.zeros(len(members))
    for count in range(len(members)):
        distance = np.where(np.isinf(distance), np.inf,
                            np.linalg.norm(mean - (features + total) / (count + 1), axis=1))
        pick = int(distance.argmin())
        distance[pick], total = np.inf, total + features[pick]
        yield int(members[pick])
