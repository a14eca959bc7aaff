"""Differences between PLOP's released code and its paper.

Authors' code: https://github.com/arthurdouillard/CVPR2021_PLOP
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np

from ..scenario import Domains
from ..scenario.partitions import PARTITIONS, Partition


@dataclass(frozen=True)
class RedrawnPartition(Partition):
    """The step's images are shuffled for training, and all images so far again for tests."""

    caveat = ("draws test images anew at each step, as PLOP's released code does: most of them were trained on. Don't compare "
              'its numbers with those of a clean split')

    def __post_init__(self) -> None:
        if self.test_share == 0:
            raise ValueError("'published' draws the test images from the training set; set test_share (0.2 there).")

    def chosen(self, names: Sequence[str], domain_of: Sequence[Optional[str]], domains: Domains, training: bool,
               everything: bool) -> np.ndarray:
        wanted = domains.new if training else domains.seen
        numbers = [number for number, domain in enumerate(domain_of) if domain in wanted]
        np.random.RandomState(1).shuffle(numbers)
        cut = int((1 - self.test_share) * len(numbers))
        chosen = np.zeros(len(domain_of), dtype=bool)
        chosen[numbers[:cut] if training else numbers[cut:]] = True
        return chosen


PARTITIONS['published'] = RedrawnPartition
