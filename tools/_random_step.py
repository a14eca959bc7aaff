"""A step on random images, for the tools that measure methods and check models."""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

import torch
from mmcss.scenario import Split
from mmcss.session import ImagePass, Moments, PartStates
from torch import nn

Batch = Dict[str, Any]


def moments(model: nn.Module, data: Batch, left: Optional[Mapping[str, Any]] = None) -> Moments:
    """Those of a step whose images are one batch; ``left`` by the parts of the step before."""
    return Moments(model, lambda name, part, student: ImagePass(model, part.needs, student, lambda: [data]), PartStates(left))


def prepare(model: nn.Module, old: nn.Module, batch: Callable[[Split], Batch]) -> None:
    """What a run does between building a student of step 1 and training it; where a part asks, step 0 has one update."""
    before = moments(old, batch(old.split))
    if old.method.observers:
        before.begin({})
        train(old.train(), batch(old.split))
        before.finish()
    moments(model, batch(model.split), before.states.kept).begin(old.state_dict())


def train(model: nn.Module, data: Batch) -> torch.Tensor:
    """Forward and backward pass of a batch, and what parts do before the update; the loss."""
    loss = sum(value for name, value in model.loss(**data).items() if 'loss' in name)
    loss.backward()
    moments(model, data).before_update()
    return loss.detach()
