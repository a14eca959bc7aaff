"""How the losses of stock heads become means over the images of all processes.

The loss of a process is multiplied with its divisor, and divided by the mean
of all processes' divisors; see :mod:`mmcss.losses.reduce`. This holds for sums
over pixels: cross-entropy and :class:`DecodeLoss`. Dice, Lovasz and OHEM are
no such sums, and remain those of each process.
"""
from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Tuple

import torch
import torch.nn as nn
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from ..losses.decode_loss import DecodeLoss
from ..losses.reduce import averaged, by_count
from ..parts import StepBatch
from ..scenario import IGNORE


@contextmanager
def means_over_processes(segmentor: EncoderDecoder, batch: StepBatch) -> Iterator[None]:
    """Within it losses are means over the images of all processes.

    The numbers of images and of labelled pixels, which most losses are
    divided by, are exchanged here, before the student runs.

    Args:
        segmentor: The student.
        batch: With completed labels; gets its ``image_share``.
    """
    counts = batch.target.new_full((), len(batch.target)), (batch.target != IGNORE).sum()
    image_share, pixel_share = (by_count(*pair) for pair in zip(counts, averaged(*counts)))
    batch.image_share = image_share
    modules = [module for head in (segmentor.decode_head, getattr(segmentor, 'auxiliary_head', None)) if head is not None
               for module in head.modules()]
    # Other heads compute losses of points, presences or boundaries in place of the labels.
    heads = [module for module in modules
             if isinstance(module, BaseDecodeHead) and type(module).loss_by_feat is BaseDecodeHead.loss_by_feat]
    of_labels = [loss for head in heads for loss in head.loss_decode.modules()]

    def weigh(loss: nn.Module, args: Tuple[Any, ...], options: Mapping[str, Any], value: Tensor) -> Tensor:
        call = inspect.signature(type(loss).forward).bind(loss, *args, **options)
        call.apply_defaults()
        arguments = call.arguments
        reduction = arguments['reduction_override'] or getattr(loss, 'reduction', 'mean')
        if reduction != 'mean' or arguments.get('avg_factor') is not None:
            return value
        kind = divided_by(loss)
        if kind == 'images':
            return value * image_share
        if kind == 'pixels' and loss in of_labels and arguments['ignore_index'] == IGNORE:
            return value * pixel_share
        number = weight_of(arguments['label'], arguments['ignore_index'], loss.class_weight if kind == 'weights' else None)
        return value * by_count(number, *averaged(number))

    handles = [module.register_forward_hook(weigh, with_kwargs=True) for module in modules
               if isinstance(module, (CrossEntropyLoss, DecodeLoss)) and not getattr(module, 'reads_batch', False)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def divided_by(loss: nn.Module) -> str:
    """What a loss is divided by: the labelled 'pixels', their 'weights', or a number proportional to that of 'images'."""
    if isinstance(loss, DecodeLoss):
        return 'pixels' if loss.average == 'valid' else 'images'
    if loss.class_weight is not None and not loss.use_sigmoid:
        return 'weights'
    return 'pixels' if loss.avg_non_ignore else 'images'


def weight_of(label: Tensor, ignore_index: int, class_weight: Any = None) -> Tensor:
    """Number of labels that are not ignored, or the sum of the weights of their classes."""
    valid = (label != ignore_index) & (label >= 0)
    if class_weight is None:
        return valid.sum()
    weights = torch.tensor(class_weight, dtype=torch.float32).to(label.device, non_blocking=True)
    return torch.where(valid, weights[torch.where(valid, label, 0).long()], 0).sum()
