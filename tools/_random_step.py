"""A step on random images, for the tools that measure methods and check models."""
from __future__ import annotations

from typing import Any, Callable, Dict

import torch
from mmcss.models import predict
from mmcss.parts import Part
from mmcss.scenario import Split
from torch import nn

Batch = Dict[str, Any]


def prepare(model: nn.Module, old: nn.Module, batch: Callable[[Split], Batch]) -> None:
    """What a run does between building a student of step 1 and training it."""
    for name, part in model.method.parts.items():
        part.attach(model, old.state_dict())
        if name in old.method.observers:
            part.load_previous(left_by(old.method.observers[name], old, batch(old.split)))
        part.before_step(model.split, (model.look(**batch(model.split), needs=part.needs) for _ in range(1)))


def left_by(part: Part, model: nn.Module, data: Batch) -> Dict[str, torch.Tensor]:
    """What a part leaves at the end of a step 0 of one update."""
    part.attach(model, {})
    train(model.train(), data)
    seen = model.eval().labels_of(data['data_samples'])
    seen.student = predict(model, data['inputs'], tuple(seen.target.shape[1:]), part.needs)
    part.after_step(model.split, [seen])
    return part.state_dict()


def train(model: nn.Module, data: Batch) -> torch.Tensor:
    """Forward and backward pass of a batch, and what parts do before the update; the loss."""
    loss = sum(value for name, value in model.loss(**data).items() if 'loss' in name)
    loss.backward()
    for part in model.method.parts.values():
        part.before_update()
    return loss.detach()
