"""A step's scores without a runner."""
from __future__ import annotations

from typing import Any, Dict, Union

import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmseg.models.segmentors import BaseSegmentor
from torch.utils.data import DataLoader, Dataset

from .continual_iou import ContinualIoUMetric


@torch.no_grad()
def evaluate(model: BaseSegmentor, images: Union[DataLoader[Any], Dataset[Any]]) -> Dict[str, Any]:
    """IoU of the old, the new and all classes of a step, by the same code as in a run.

    Args:
        model: A segmentor of MMSegmentation.
        images: The test images: a :class:`~mmcss.datasets.StepDataset` with a
            :class:`~mmcss.scenario.Protocol`, which says what is scored, or
            a loader of it.

    Returns:
        Percentages, the means rounded to two decimals: ``mIoU_old``,
        ``mIoU_new`` (from step 1 on), ``mIoU``, ``mAcc`` and ``aAcc``, and for
        each of ``classes`` an ``IoU`` and ``Acc`` (None where it is not
        defined), and whether it is ``scored``.
    """
    loader = images if isinstance(images, DataLoader) else DataLoader(images, collate_fn=pseudo_collate)
    dataset: Any = loader.dataset  # one with metainfo and a length
    metric = ContinualIoUMetric()
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dataset.metainfo
    training = model.training
    model.eval()
    try:
        for data in loader:
            evaluator.process(data_samples=model.test_step(data), data_batch=data)
    finally:
        model.train(training)
    evaluator.evaluate(len(dataset))
    return metric.report
