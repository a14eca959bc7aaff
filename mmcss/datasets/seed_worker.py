"""Random numbers of loader processes."""
from __future__ import annotations

import os
import random

import numpy as np
import torch
from mmengine.dist import get_rank, is_distributed
from mmengine.registry import FUNCTIONS


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed a loader process from the main process's random state.

    mmengine's function seeds with a constant, so that loaders that restart
    each epoch repeat the same augmentations. PyTorch draws a new base seed
    for each start, which :class:`RandomStateHook` makes resumable.
    """
    # A spawned process is in no group; all launchers name the rank in the environment.
    rank = get_rank() if is_distributed() else int(os.environ.get('RANK', 0))
    seed = (torch.initial_seed() + 7919 * 10007 * rank) % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
