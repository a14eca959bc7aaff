"""Pseudo labels by the teacher's sigmoid scores."""
from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...arguments import Share
from ...parts import Needs, Part, StepBatch


def sure_old_classes(target: Tensor, channel: Tensor, score: Tensor, num_old: int, unknown: int,
                     threshold: float) -> Tensor:
    """Labels in which background and unknown give way to an old class that the teacher is sure of (SSUL, eq. 1).

    Args:
        target: ``[N, H, W]`` labels.
        channel: ``[N, H, W]`` the teacher's best channel, of all that it has:
            background, old classes, unknown.
        score: ``[N, H, W]`` its score, in 0 to 1.
        num_old: Number of old classes, background included.
        unknown: Label of unknown.
        threshold: Least score.
    """
    open_to_all = (target == 0) | (target == unknown)
    is_class = (channel > 0) & (channel < num_old)
    return torch.where(open_to_all & is_class & (score >= threshold), channel, target)


@MODELS.register_module()
class SigmoidPseudoLabels(Part):
    """Background and unknown pixels take the teacher's class where its score is high (SSUL, section 3.2).

    Other pixels stay what they are; none is ignored.

    Args:
        threshold: Least score (paper and authors' code: 0.7).
        softmax: Take the softmax over all channels for the score, as the
            authors' code does with cross-entropy.
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
