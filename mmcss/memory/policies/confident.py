"""CoRiSeg's memory (Ozdemir et al., MICCAI 2018)."""
from __future__ import annotations

from typing import Iterator, List

import numpy as np
from numpy.random import RandomState

from ...arguments import Count
from .policy import MEMORY_POLICIES, Policy, Pool, in_turns


@MEMORY_POLICIES.register_module('confident')
class Confident(Policy):
    """Sure images that stand for the others of their class (CoRiSeg, Ozdemir et al., MICCAI 2018).

    Of each class the surest images are kept, ``surest`` times as many as
    wanted; from these, one after another, that which brings the class's
    images closest to a chosen one (cosine distance of the mean features).

    Args:
        surest: How many times as many images as wanted are looked at.
    """

    uses_features = True

    def __init__(self, surest: Count = 10) -> None:
        self.surest = surest

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        classes = pool.present
        most = self.surest * -(-size // max(1, len(classes)))
        return in_turns([_ranked(pool, c, most) for c in classes], size)


def _ranked(pool: Pool, c: int, most: int) -> Iterator[int]:
    members, features = np.flatnonzero(pool.holds[:, c]), pool.class_features[c]
    sure = np.argsort(-pool.certainty[members], kind='stable')[:most]
    distance = 1 - features @ features[sure].T  # of all images to the surest
    nearest, taken = np.full(len(members), np.inf), np.zeros(len(sure), dtype=bool)
    for _ in range(len(sure)):
        cost = np.where(taken, np.inf, np.minimum(nearest[:, None], distance).sum(axis=0))
        pick = int(cost.argmin())
        nearest, taken[pick] = np.minimum(nearest, distance[:, pick]), True
        yield int(members[sure[pick]])
