"""Policies that choose by the features of a class: iCaRL's and CoRiSeg's."""
from __future__ import annotations

from typing import Iterator, List

import numpy as np
from numpy.random import RandomState

from ...arguments import Count
from .policy import MEMORY_POLICIES, Policy, Pool, in_turns


@MEMORY_POLICIES.register_module('herding')
class Herding(Policy):
    """Images whose mean feature stays closest to the class's (iCaRL, Rebuffi et al., CVPR 2017, algorithm 4).

    An image's feature for a class is the mean over the class's pixels.
    Classes take turns; an image taken by another class counts for both.
    """

    uses_features = True

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        return in_turns([self._ranked(pool, c) for c in pool.present], size)

    @staticmethod
    def _ranked(pool: Pool, c: int) -> Iterator[int]:
        members, features = np.flatnonzero(pool.holds[:, c]), pool.class_features[c]
        mean, total = features.mean(axis=0), np.zeros(features.shape[1])
        distance = np.zeros(len(members))
        for count in range(len(members)):
            distance = np.where(np.isinf(distance), np.inf, np.linalg.norm(mean - (features + total) / (count + 1), axis=1))
            pick = int(distance.argmin())
            distance[pick], total = np.inf, total + features[pick]
            yield int(members[pick])


@MEMORY_POLICIES.register_module('confident')
class Confident(Policy):
    """Sure images that represent the others of their class (CoRiSeg, Ozdemir et al., MICCAI 2018).

    Of each class the surest images are preselected, ``surest`` times as many
    as wanted; of these, one after another, the one that brings the class's
    images closest to a chosen one (cosine distance of the mean features).

    Args:
        surest: How many times as many images as wanted are preselected.
    """

    uses_features = True

    def __init__(self, surest: Count = 10) -> None:
        self.surest = surest

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        most = self.surest * -(-size // max(1, len(pool.present)))
        return in_turns([self._ranked(pool, c, most) for c in pool.present], size)

    @staticmethod
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
