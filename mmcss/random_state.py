"""The random state of this process: reading, setting and preserving it."""
from __future__ import annotations

import random
from contextlib import contextmanager
from typing import Any, Dict, Iterator

import numpy as np
import torch

State = Dict[str, Any]


def random_state() -> State:
    """State of all random number generators of this process, in plain types and tensors."""
    version, numbers, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    keys = torch.from_numpy(numpy['state']['key'].astype(np.int64))
    state = dict(
        python=(version, torch.tensor(numbers), gauss),
        numpy=(numpy['bit_generator'], keys, int(numpy['state']['pos']), int(numpy['has_gauss']), float(numpy['gauss'])),
        torch=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: State) -> None:
    """Inverse of :func:`random_state`; tensors may be on any device: mmengine loads checkpoints onto the model's."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers.tolist()), gauss))
    kind, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the random state after the block."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)
