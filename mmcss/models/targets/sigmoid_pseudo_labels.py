"""Pseudo labels by the teacher's sigmoid scores."""
from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...arguments import Share
from ...parts import Needs, Part, StepBatch


def sure_old_classes(target: Tensor, channel: Tensor, score: Tensor, num_old: int, unknown: int,
                     threshold: float) -> Tensor:
    """Labels in which old classes that the teacher is certain of replace background and unknown (SSUL, eq. 1).

    Args:
        target: ``[N, H, W]`` labels.
        channel: ``[N, H, W]`` the teacher's best channel, which may be the
            background's or the unknown's.
        score: ``[N, H, W]`` its score, in 0 to 1.
        num_old: Number of old classes, background included.
        unknown: Label of unknown.
        threshold: Least score.
    """
    replaceable = (target == 0) | (target == unknown)
    is_class = (channel > 0) & (channel < num_old)
    return torch.where(replaceable & is_class & (score >= threshold), channel, target)


@MODELS.register_module()
class SigmoidPseudoLabels(Part):
    """Background and unknown pixels get the teacher's class where its score is high (SSUL, section 3.2).

    Other labels do not change; none is ignored.

    Args:
        threshold: Least score (paper and authors' code: 0.7).
        softmax: Use the softmax over all channels as score, as the authors'
            code does with cross-entropy.
    """

    needs = Needs(logits=True)
    takes_unknown = True

    def __init__(self, threshold: Share = 0.7, softmax: bool = False) -> None:
        self.threshold = threshold
        self.softmax = softmax

    def targets(self, batch: StepBatch) -> None:
        logits = batch.teacher.logits.float()
        best, channel = logits.max(dim=1)
        score = (best - logits.logsumexp(dim=1)).exp() if self.softmax else best.sigmoid()
        batch.target = sure_old_classes(batch.target, channel, score, batch.split.num_old, batch.split.unknown,
                                        self.threshold)
