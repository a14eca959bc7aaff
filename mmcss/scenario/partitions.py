"""Divides images between training and tests: ``scenario.test_share``, ``scenario.partition``."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Dict, Optional, Sequence, Set, Type

import numpy as np

from .split import Domains


@dataclass(frozen=True)
class Partition:
    """Test images are drawn once for each domain, and never trained on; arguments as in :class:`DomainIncremental`.

    Attributes:
        caveat: Why its numbers can't be compared; one with a caveat is for ``profile='official'`` alone.
    """

    test_share: float
    seed: int
    caveat: ClassVar[str] = ''

    def chosen(self, names: Sequence[str], domain_of: Sequence[Optional[str]], domains: Domains, training: bool,
               everything: bool) -> np.ndarray:
        """Whether a step sees each image, ``[images]`` bool.

        Args:
            names: Names of all images.
            domain_of: The domain of each.
            domains: Those of the step.
            training: Whether to train on them.
            everything: Test on images of future domains as well.
        """
        for_tests = self._for_tests(names, domain_of)
        if training:
            chosen = [domain in domains.new and name not in for_tests for name, domain in zip(names, domain_of)]
        else:  # images of no domain of the scenario, which a test set may have, belong to every step
            chosen = [everything or domain not in domains.future if not self.test_share else
                      name in for_tests and (domain in domains.seen or (everything and domain in domains.future))
                      for name, domain in zip(names, domain_of)]
        return np.array(chosen, dtype=bool)

    def _for_tests(self, names: Sequence[str], domain_of: Sequence[Optional[str]]) -> Set[str]:
        """Names of the test images: drawn once for each domain, whatever the order of the files."""
        if not self.test_share:
            return set()
        drawn: Set[str] = set()
        for domain in sorted({domain for domain in domain_of if domain is not None}):
            images = sorted({name for name, image_domain in zip(names, domain_of) if image_domain == domain})
            # Seeded by the name: the draw does not depend on the other domains.
            random = np.random.RandomState([self.seed, *domain.encode()])
            number = max(1, round(self.test_share * len(images))) if len(images) > 1 else 0
            drawn.update(images[i] for i in random.permutation(len(images))[:number])
        return drawn


PARTITIONS: Dict[str, Type[Partition]] = dict(once=Partition)


def check_test_share(share: float) -> None:
    """See that a share of images can be kept for tests.

    Raises:
        ValueError: It is not at least 0 and less than 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f'scenario.test_share: got {share}, expected at least 0 and less than 1.')


def kept_for_tests(name: str, share: float) -> bool:
    """Whether an image belongs to the share that is kept for tests, told by its name alone.

    So an image is on the same side at all steps, in all regimes and on all
    machines, whatever other images there are.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], 'big') < share * 2**64
