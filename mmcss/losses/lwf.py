"""LwF: learning without forgetting (Li and Hoiem, ECCV 2016), as the papers of the field compare with it.

Authors' code of the form used here: https://github.com/fcdl94/MiB
"""
from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import NotNegative, Positive
from ..parts import Needs, Part, StepBatch


def knowledge_distillation(student: Tensor, teacher: Tensor, alpha: float = 1.0) -> Tensor:
    """Distillation of the teacher's classes; the student's softmax is taken over these alone.

    Args:
        student: ``[N, C, H, W]`` logits, old classes first.
        teacher: ``[N, C_old, H, W]`` logits, ``C_old <= C``.
        alpha: Factor on the teacher's logits before the softmax.

    Returns:
        ``[N, H, W]`` cross-entropy per pixel, divided by ``C_old``.
    """
    student, teacher = student.float(), teacher.float()
    log_student = student[:, :teacher.shape[1]].log_softmax(dim=1)
    return -((alpha * teacher).softmax(dim=1) * log_student).mean(dim=1)


@MODELS.register_module()
class KnowledgeDistillation(Part):
    """Plain distillation between student and teacher, on every pixel.

    Args:
        loss_weight: Factor on the loss, a mean over classes; 100 in MiB's and
            PLOP's comparisons.
        alpha: See :func:`knowledge_distillation`.
    """

    needs = Needs(logits=True)

    def __init__(self, loss_weight: NotNegative = 100.0, alpha: Positive = 1.0) -> None:
        self.loss_weight = loss_weight
        self.alpha = alpha

    def loss(self, batch: StepBatch) -> Tensor:
        return self.loss_weight * knowledge_distillation(batch.student.logits, batch.teacher.logits, self.alpha).mean()
