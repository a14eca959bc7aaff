"""What is remembered of earlier steps: exemplars, which are chosen, and how they are replayed."""
from .buffer import Candidate, MemoryBuffer
from .dataset import WithMemory
from .exemplar import Exemplar, Memory, Source
from .policies import POLICIES, Policy, Pool, StreamPolicy
from .replay import REPLAYS, Replay
from .samplers import ReplayBatchSampler, StreamBatchSampler

__all__ = [
    'Candidate', 'Exemplar', 'Memory', 'MemoryBuffer', 'POLICIES', 'Policy', 'Pool', 'REPLAYS', 'Replay',
    'ReplayBatchSampler', 'Source', 'StreamBatchSampler', 'StreamPolicy', 'WithMemory'
]
