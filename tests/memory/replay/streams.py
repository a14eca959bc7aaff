"""Step 1 of a stream just before its first batch, for tests of what online steps add to batches."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, Iterator, Sequence, Tuple

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from numpy.random import RandomState
from torch import Tensor, nn

from mmcss.engine.isolation import tear_down
from mmcss.hooks import MemoryHook
from mmcss.hooks.data_pass import training_of
from mmcss.memory import MemoryBuffer, Replay
from mmcss.memory.replay import replay as module
from tests.hooks.runners import leave_first_step, runner_of, stream_config
from tests.memory.buffers import buffer_of

MEMORY = dict(size=6, policy='reservoir')


@pytest.fixture(scope='session')
def stream_dir(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an untrained step 0 has left its model and six images."""
    folder = tmp_path_factory.mktemp('stream')
    leave_first_step(stream_config(tiny_data, folder, MEMORY), MemoryHook)
    return folder


@pytest.fixture
def runner(tiny_data: Path, stream_dir: Path) -> Iterator[Runner]:
    """Step 1 before its first batch, with an optimizer without momentum."""
    made = build(tiny_data, stream_dir, optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=.05)))
    yield made
    tear_down(made)


def build(root: Path, work_dir: Path, **changes: Any) -> Runner:
    """A runner of step 1 with its optimizer, whose model has no trained weights."""
    runner = runner_of(stream_config(root, work_dir, MEMORY, **changes), 1)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    assert len(runner.train_dataloader.dataset) == 7
    runner.model.init_weights()
    runner.model.train()
    return runner


def memory_of(runner: Runner) -> MemoryBuffer:
    """The six images that step 0 left."""
    buffer = buffer_of(runner.train_dataloader.dataset, 6, 'reservoir')
    assert len(buffer.stored) == 6
    return buffer


def batch_of(runner: Runner, numbers: Sequence[int] = (0, 3)) -> Dict[str, Any]:
    return pseudo_collate([runner.train_dataloader.dataset[i] for i in numbers])


def started(kind: type, runner: Runner, seed: int = 5, **options: Any) -> Replay:
    replay = kind(**options)
    replay.begin(training_of(runner), memory_of(runner), RandomState(seed))
    return replay


def update(runner: Runner, numbers: Sequence[int] = (0, 3)) -> None:
    runner.model.train_step(batch_of(runner, numbers), runner.optim_wrapper)


def act_as(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    """Let replays be in one of several processes."""
    monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world_size))


def gradients_by_hand(runner: Runner, batch: Dict[str, Any]) -> Tuple[Dict[str, Tensor], nn.Module]:
    """Of a copy of the model."""
    model = copy.deepcopy(runner.model).train()
    copied = dict(inputs=list(batch['inputs']), data_samples=copy.deepcopy(batch['data_samples']))
    data = model.data_preprocessor(copied, True)
    loss = model.parse_losses(model(**data, mode='loss'))[0]
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())))), model
