"""How images are chosen to be remembered: the base of all policies."""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Sequence, Set, Union

import numpy as np
from mmengine.registry import Registry
from numpy.random import RandomState

from ...arguments import ABSENT, Checked
from ...models.part_configs import Family


@dataclass
class Pool:
    """The images that a policy chooses from: the stored ones, followed by those that have arrived.

    Args:
        holds: ``[n, C]`` bool: which foreground classes seen so far each image
            is known to show.
        stored: How many of the images are stored already.
        images_seen: Images of the whole stream before those that have arrived.
        classes_seen: ``[C]`` how many of them held each class.
        class_features: For each class ``[members, D]`` unit vectors: its mean
            feature in each image that holds it, in order (policies that use
            features).
        certainty: ``[n]``: the greater, the surer the model is of the image
            (the same policies).
    """

    holds: np.ndarray
    stored: int = 0
    images_seen: int = 0
    classes_seen: np.ndarray = ABSENT
    class_features: Sequence[np.ndarray] = ABSENT
    certainty: np.ndarray = ABSENT

    @property
    def present(self) -> List[int]:
        """The classes that any image shows."""
        return np.flatnonzero(self.holds.any(axis=0)).tolist()


class Policy(Checked):
    """Chooses the images to remember whenever some have arrived: a batch of a stream, or all of a step.

    Policies are deterministic for a random state; numpy's legacy one, whose
    numbers stay the same from version to version.
    Those that need the model's features set ``uses_features``.
    """

    uses_features: bool = False

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        """Numbers in the pool of the images to remember, at most ``size``, each once."""
        raise NotImplementedError


class StreamPolicy(Policy):
    """A policy that decides image by image; those that arrive together are taken in random order."""

    def select(self, pool: Pool, size: int, random: RandomState) -> List[int]:
        stored = list(range(pool.stored))[:size]
        classes_seen = np.array(pool.classes_seen)
        arrivals = random.permutation(np.arange(pool.stored, len(pool.holds))).tolist()
        for images_seen, image in enumerate(arrivals, pool.images_seen + 1):
            classes_seen += pool.holds[image]
            stored = self.insert(stored, image, Pool(pool.holds, len(stored), images_seen, classes_seen), size, random)
        return stored

    def insert(self, stored: List[int], image: int, pool: Pool, size: int, random: RandomState) -> List[int]:
        """Offer one image of the stream to the memory.

        Args:
            stored: Numbers of the stored images.
            image: Number of the new one.
            pool: All images; its counts include the new one.
            size: Most images to store.
            random: Random numbers.

        Returns:
            The stored images from now on.
        """
        raise NotImplementedError


MEMORY_POLICIES = Registry('memory policy', scope='mmseg', locations=['mmcss.memory.policies'])
POLICIES = Family(MEMORY_POLICIES, Policy, 'a memory policy')


def named(policy: Union[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The config of a policy, which may be its name alone."""
    return dict(type=policy) if isinstance(policy, str) else policy


def in_turns(queues: Sequence[Iterator[int]], size: int) -> List[int]:
    """Numbers drawn from several queues in turns until there are ``size``, each number once, ordered by queue."""
    taken: List[List[int]] = [[] for _ in queues]
    chosen: Set[int] = set()
    waiting = deque(zip(queues, taken))
    while waiting and len(chosen) < size:
        queue, images = waiting.popleft()
        image = next((image for image in queue if image not in chosen), None)
        if image is not None:  # else the queue has run out
            chosen.add(image)
            images.append(image)
            waiting.append((queue, images))
    return [image for images in taken for image in images]
