"""One sigmoid for each class: LwF-MC and SSUL.

LwF-MC (Rebuffi et al., iCaRL, CVPR 2017, without exemplars): in the paper one
binary cross-entropy takes its targets from the teacher for old classes and
from the labels for new ones. Here its two halves are a part and a
``loss_decode``. Both sum over classes, so that their sum is the paper's loss,
except for ignored pixels, which only the part averages over.
Authors' code of the form used here: https://github.com/fcdl94/MiB

SSUL (Cha et al., NeurIPS 2021, eq. 2): the labels are the targets of all
channels, background and unknown included, at all steps.
Authors' code: https://github.com/clovaai/SSUL
"""
from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import NotNegative, Number
from ..parts import Needs, Part, StepBatch
from .decode_loss import DecodeLoss, LossName


def binary_cross_entropy(logits: Tensor, target: Tensor, first: int = 0, background: bool = False,
                         ignore_index: int = 255) -> Tensor:
    """Sum of the binary cross-entropies of the classes from ``first`` on.

    Args:
        logits: ``[N, C, H, W]`` raw scores.
        target: ``[N, H, W]`` class indices.
        first: The first class of the sum.
        background: Whether class 0 is in the sum as well.
        ignore_index: Label of pixels without loss.

    Returns:
        ``[N, H, W]`` loss per pixel, 0 where ``target == ignore_index``.
    """
    logits = logits.float()
    # BCE of a logit x is softplus(x) where the class is absent and softplus(x) - x where it is there.
    loss = F.softplus(logits[:, first:]).sum(dim=1)
    summed = target >= first
    if background and first > 0:
        loss = loss + F.softplus(logits[:, 0])
        summed |= target == 0
    valid = target != ignore_index
    index = torch.where(valid & summed, target, 0)
    labelled = logits.gather(1, index[:, None])[:, 0]
    return torch.where(valid, loss - torch.where(summed, labelled, 0), 0)


def binary_distillation(student: Tensor, teacher: Tensor, first: int = 0) -> Tensor:
    """Sum over old classes of the binary cross-entropy with the teacher's sigmoid as target.

    Args:
        student: ``[N, C, H, W]`` logits, old classes first.
        teacher: ``[N, C_old, H, W]`` logits, ``C_old <= C``.
        first: The first class of the sum.

    Returns:
        ``[N, H, W]`` loss per pixel.
    """
    student, teacher = student[:, first:teacher.shape[1]].float(), teacher[:, first:].float()
    return (F.softplus(student) - student * teacher.sigmoid()).sum(dim=1)


@MODELS.register_module()
class BinaryCrossEntropyLoss(DecodeLoss):
    """The classification loss of LwF-MC and SSUL, at all steps: summed over channels.

    Args:
        classes: The classes whose targets are the labels: 'new'; or 'all', as
            in SSUL, and in the code of LwF-MC's authors, where the labels say
            that old classes are absent and the teacher that they are present.
        num_old, loss_name, kwargs: See :class:`DecodeLoss`.
    """

    from_first_step = True

    def __init__(self, num_old: Number, classes: Literal['new', 'all'] = 'new', loss_name: LossName = 'loss_bce',
                 **kwargs: Any) -> None:
        super().__init__(num_old, loss_name=loss_name, **kwargs)
        self.first = 0 if classes == 'all' else num_old

    def per_pixel(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        return binary_cross_entropy(logits, target, self.first, ignore_index=ignore_index)


@MODELS.register_module()
class BinaryDistillation(Part):
    """LwF-MC's distillation: the teacher's sigmoids are the old classes' targets, on every pixel.

    Args:
        loss_weight: Factor on the loss; 1 in the paper, 10 in the authors' code.
    """

    needs = Needs(logits=True)

    def __init__(self, loss_weight: NotNegative = 1.0) -> None:
        self.loss_weight = loss_weight

    def loss(self, batch: StepBatch) -> Tensor:
        return self.loss_weight * binary_distillation(batch.student.logits, batch.teacher.logits).mean()
