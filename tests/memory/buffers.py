"""Buffers of a step, for tests of what they are offered and leave."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, List, Tuple

from numpy.random import RandomState

from mmcss.memory import Candidate, Exemplar, MemoryBuffer, Policy, Pool, WithMemory
from tests.memory.policies.pools import policy


class Everything(Policy):
    """Keeps all there is, in its order."""

    def select(self, pool: Pool, size: int, random: Any) -> List[int]:
        return list(range(len(pool.holds)))


def buffer_of(dataset: WithMemory, size: int = 4, name: str = 'cbes', seed: int = 0) -> MemoryBuffer:
    return MemoryBuffer(dataset, size, policy(name), RandomState(seed))


def candidates_of(dataset: WithMemory) -> List[Candidate]:
    """All that a step may remember: what it replays, then its images, each once."""
    buffer = MemoryBuffer(dataset, 10**6, Everything(), RandomState(0))
    buffer.offer(buffer.numbers)
    return buffer.chosen()


def pairs_of(dataset: WithMemory) -> List[Tuple[Exemplar, Tuple[int, ...]]]:
    """These as exemplars without sources, each with its numbers in the data set."""
    return [(replace(candidate.exemplar, source=None), candidate.numbers) for candidate in candidates_of(dataset)]
