"""A step on random images, for the tools that measure methods and check models."""
from __future__ import annotations

from typing import Any, Callable, Dict

import torch
from mmcss.models import predict
from mmcss.parts import Part
from mmcss.scenario import Split
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

Batch = Dict[str, Any]


def random_batch(batch: int, height: int, width: int, split: Split, device: str) -> Batch:
    """Random images with labels of a step: background, new classes (of domains all) in blocks, some ignored."""
    generator = torch.Generator().manual_seed(0)
    first = max(split.num_old if split.new else 0, split.first_foreground)
    coarse = torch.randint(max(first - 1, 0), split.num_seen, (batch, 1, 8, 8), generator=generator)
    labels = torch.where(coarse < first, 0, coarse)
    labels[:, :, 0, 0] = 255
    labels = nn.functional.interpolate(labels.float(), (height, width)).long().to(device)
    shape = dict(ori_shape=(height, width), img_shape=(height, width), pad_shape=(height, width))
    samples = [SegDataSample(metainfo=shape, gt_sem_seg=PixelData(data=label)) for label in labels]
    for sample in samples:
        sample.labelled = (torch.arange(split.num_seen) >= first).to(device)
        # Heads that learn boundaries (PIDNet) have them as a map of their own.
        sample.gt_edge_map = PixelData(data=edges(sample.gt_sem_seg.data))
    images = torch.randn(batch, 3, height, width, generator=generator).to(device)
    return dict(inputs=images, data_samples=samples)


def edges(labels: torch.Tensor) -> torch.Tensor:
    """1 at ``[1, H, W]`` pixels whose right neighbour is of another class."""
    return (labels != labels.roll(-1, dims=2)).long()


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
