import importlib
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mmcss.datasets import seed_worker
from mmcss.random_state import preserved_random_state

LIMIT = 2**31 - 1


class Draws(Dataset):
    """Each item: its worker, that worker's base seed, and one number of each generator."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        worker = get_worker_info()
        return (worker.id, worker.seed, random.randrange(LIMIT), int(np.random.randint(LIMIT)),
                int(torch.randint(LIMIT, ())))


@pytest.fixture(autouse=True)
def own_random_state():
    with preserved_random_state():
        yield


def epochs(torch_seed, other_seed, number=2):
    torch.manual_seed(torch_seed)
    random.seed(other_seed)
    np.random.seed(other_seed)
    loader = DataLoader(Draws(), num_workers=2, worker_init_fn=seed_worker, collate_fn=lambda items: items[0],
                        multiprocessing_context='fork')
    return [list(loader) for _ in range(number)]


def by_generator(epoch):
    """Numbers of each generator: python, numpy, torch."""
    return list(zip(*(item[2:] for item in epoch)))


def test_streams_of_workers_and_epochs_differ():
    first, second = epochs(3, 1)
    assert [item[0] for item in first] == [0, 1, 0, 1]
    for a, b in zip(by_generator(first), by_generator(second)):
        assert len(set(a + b)) == 8


def test_streams_depend_on_torch_alone():
    assert epochs(3, 1) == epochs(3, 2)
    a, b = epochs(3, 1, number=1)[0], epochs(4, 1, number=1)[0]
    assert not {item[2:] for item in a} & {item[2:] for item in b}


def test_each_stream_is_that_of_the_workers_seed():
    """PyTorch seeds numpy too, in its own way; ours is the worker's seed for all three."""
    epoch, = epochs(5, 1, number=1)
    for worker in (0, 1):
        items = [item for item in epoch if item[0] == worker]
        seed = items[0][1] % 2**32
        python, numpy, pytorch = random.Random(seed), np.random.RandomState(seed), torch.Generator().manual_seed(seed)
        for _, _, *drawn in items:
            assert drawn == [python.randrange(LIMIT), numpy.randint(LIMIT),
                             int(torch.randint(LIMIT, (), generator=pytorch))]


@pytest.mark.parametrize('spawned', [False, True])
def test_processes_of_a_distributed_run_differ(monkeypatch, spawned):
    """A loader process that was spawned is in no group."""
    module = importlib.import_module(seed_worker.__module__)
    drawn = []
    for rank in range(3):
        monkeypatch.setattr(module, 'is_distributed', lambda: not spawned)
        monkeypatch.setattr(module, 'get_rank', lambda rank=rank: 0 if spawned else rank)
        monkeypatch.setenv('RANK', str(rank if spawned else 0))
        torch.manual_seed(2**63 + 7)  # as large as PyTorch's seeds are
        seed_worker(0)
        drawn.append((random.random(), np.random.rand(), float(torch.rand(()))))
    assert all(len(set(numbers)) == 3 for numbers in zip(*drawn))
