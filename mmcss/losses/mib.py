"""MiB: modelling the background (Cermelli et al., CVPR 2020).

Authors' code: https://github.com/fcdl94/MiB
"""
from __future__ import annotations

from typing import Any, Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import Count, NotNegative, Positive
from ..parts import Needs, Part, StepBatch
from .decode_loss import DecodeLoss, LossName

OldLabels = Literal['taught', 'background']


def unbiased_cross_entropy(logits: Tensor, target: Tensor, num_old: int, ignore_index: int = 255,
                           old_labels: OldLabels = 'taught') -> Tensor:
    """Cross-entropy in which 'background' stands for background or any old class (MiB, eq. 5).

    Args:
        logits: ``[N, C, H, W]`` raw scores, old classes first.
        target: ``[N, H, W]`` class indices.
        num_old: Number of old classes, background included; at least 1.
        ignore_index: Label of pixels without loss.
        old_labels: Labels of old classes, which replayed images have, are
            'taught' as they are; or treated as 'background', as in the
            authors' code.

    Returns:
        ``[N, H, W]`` loss per pixel, 0 where ``target == ignore_index``.
    """
    logits = logits.float()
    valid = target != ignore_index
    background = logits[:, :num_old].logsumexp(dim=1)
    labelled = logits.gather(1, torch.where(valid, target, 0)[:, None])[:, 0]
    any_old = target < num_old if old_labels == 'background' else target == 0
    log_probability = torch.where(any_old, background, labelled) - logits.logsumexp(dim=1)
    return torch.where(valid, -log_probability, 0)


def unbiased_distillation(student: Tensor, teacher: Tensor, alpha: float = 1.0) -> Tensor:
    """Distillation in which the teacher's background may be any new class (MiB, eq. 7 and 8).

    Args:
        student: ``[N, C, H, W]`` logits, old classes first.
        teacher: ``[N, C_old, H, W]`` logits, ``C_old <= C``.
        alpha: Factor on the teacher's logits before the softmax.

    Returns:
        ``[N, H, W]`` cross-entropy per pixel, divided by ``C_old``.
    """
    student, teacher = student.float(), teacher.float()
    num_old = teacher.shape[1]
    normaliser = student.logsumexp(dim=1, keepdim=True)
    background = torch.cat((student[:, :1], student[:, num_old:]), dim=1).logsumexp(dim=1, keepdim=True)
    log_student = torch.cat((background, student[:, 1:num_old]), dim=1) - normaliser
    return -((alpha * teacher).softmax(dim=1) * log_student).mean(dim=1)


@MODELS.register_module()
class UnbiasedCrossEntropyLoss(DecodeLoss):
    """MiB's cross-entropy.

    Args:
        old_labels: See :func:`unbiased_cross_entropy`.
        num_old, loss_name, kwargs: See :class:`DecodeLoss`.
    """

    def __init__(self, num_old: Count, old_labels: OldLabels = 'taught', loss_name: LossName = 'loss_unce',
                 **kwargs: Any) -> None:
        super().__init__(num_old, loss_name=loss_name, **kwargs)
        self.old_labels = old_labels

    def per_pixel(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        return unbiased_cross_entropy(logits, target, self.num_old, ignore_index, self.old_labels)


@MODELS.register_module()
class UnbiasedDistillation(Part):
    """MiB's distillation between student and teacher, on every pixel, ignored ones included, as in the authors' code.

    Args:
        loss_weight: Factor on the loss (lambda: 10; on VOC 15-1 100).
        alpha: See :func:`unbiased_distillation`.
    """

    needs = Needs(logits=True)
    about_new_classes = True

    def __init__(self, loss_weight: NotNegative = 10.0, alpha: Positive = 1.0) -> None:
        self.loss_weight = loss_weight
        self.alpha = alpha

    def loss(self, batch: StepBatch) -> Tensor:
        return self.loss_weight * unbiased_distillation(batch.student.logits, batch.teacher.logits, self.alpha).mean()
