"""A step on random images, for the tools that measure methods and check models."""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

import torch
import torch.nn.functional as F
from mmcss.scenario import Split
from mmcss.session import ImagePass, Moments, PartStates
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

Batch = Dict[str, Any]


def random_batch(batch: int, height: int, width: int, split: Split, device: str) -> Batch:
    """Random images with labels of a step: background, new classes (of domains all) in blocks, some ignored.

    The same at each call with the same arguments.

    Args:
        batch: Number of images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        split: The classes of the step.
        device: Where the images and labels are put.

    Returns:
        ``inputs``, ``[N, 3, H, W]`` preprocessed images, and ``data_samples``
        with their labels and the classes that these tell.
    """
    generator = torch.Generator().manual_seed(0)
    first = max(split.num_old if split.new else 0, split.first_foreground)
    coarse = torch.randint(max(first - 1, 0), split.num_seen, (batch, 1, 8, 8), generator=generator)
    labels = torch.where(coarse < first, 0, coarse)
    labels[:, :, 0, 0] = 255
    labels = F.interpolate(labels.float(), (height, width)).long().to(device)
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


def moments(model: nn.Module, data: Batch, left: Optional[Mapping[str, Any]] = None) -> Moments:
    """Those of a step whose images are one batch; ``left`` by the parts of the step before."""
    return Moments(model, lambda name, part, student: ImagePass(model, part.needs, student, lambda _: [data]), PartStates(left))


def prepare(model: nn.Module, old: nn.Module, batch: Callable[[Split], Batch]) -> None:
    """What a run does between building a student of step 1 and training it; where a part asks, step 0 has one update."""
    before = moments(old, batch(old.split))
    if old.method.observers:
        before.begin({})
        train(old.train(), batch(old.split))
        before.finish()
    moments(model, batch(model.split), before.states.states).begin(old.state_dict())


def train(model: nn.Module, data: Batch) -> torch.Tensor:
    """Forward and backward pass of a batch, and what parts do before the update; the loss."""
    loss = sum(value for name, value in model.loss(**data).items() if 'loss' in name)
    loss.backward()
    moments(model, data).before_update()
    return loss.detach()
