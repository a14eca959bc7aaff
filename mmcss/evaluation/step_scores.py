"""Scores of a step without a runner."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Union

import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmseg.models.segmentors import BaseSegmentor
from torch import nn
from torch.utils.data import DataLoader, Dataset, default_collate

from ..scenario import Protocol
from .continual_iou import ContinualIoUMetric


@torch.no_grad()
def evaluate(model: BaseSegmentor, images: Union[DataLoader[Any], Dataset[Any]]) -> Dict[str, Any]:
    """IoU of the old, the new and all classes of a step, by the same code as in a run.

    Args:
        model: A segmentor of MMSegmentation.
        images: The test images: a :class:`~mmcss.datasets.StepDataset` whose view is a :class:`~mmcss.scenario.Protocol`,
            or a loader of it.

    Returns:
        Percentages, the means rounded to two decimals: ``mIoU_old``, ``mIoU_new`` (from step 1 on), ``mIoU``, ``mAcc`` and
        ``aAcc``; and for each of ``classes`` ``IoU`` and ``Acc`` (None where undefined), whether it is ``scored``, and
        in ``confusion`` how many of its pixels are predicted as each class.

    Raises:
        ValueError: The images are those of training, or the loader has torch's collate_fn.
    """
    loader = images if isinstance(images, DataLoader) else DataLoader(images, collate_fn=pseudo_collate)
    dataset: Any = loader.dataset  # one with metainfo and a length
    view = getattr(dataset, 'view', None)  # a stock data set has none
    if view is not None and not isinstance(view, Protocol):
        raise ValueError(f'images: got a data set whose view is a {type(view).__name__}, expected a Protocol.')
    check_collated(loader)
    metric = ContinualIoUMetric()
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dataset.metainfo
    with evaluating(model):
        for data in loader:
            evaluator.process(data_samples=model.test_step(data), data_batch=data)
    evaluator.evaluate(len(dataset))
    return metric.report


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in which a model is in evaluation mode; afterwards each of its modules is in the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        model.train(modes[0][1])  # modules may override train()
        for module, training in modes:
            module.training = training


def check_collated(loader: DataLoader[Any]) -> None:
    """Raise a ValueError for a loader with torch's collate_fn, which can't collate data samples."""
    if loader.collate_fn is default_collate:
        raise ValueError("loader: got torch's default_collate, which can't collate data samples; build it with "
                         'collate_fn=pseudo_collate (of mmengine.dataset).')
