"""What an online step wants to know of each batch."""
from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import ABSENT
from ..parts import Needs, Part, StepBatch


def class_confidence(logits: Tensor, target: Tensor) -> Tensor:
    """Probability of the labelled class, summed over the pixels of each class.

    Args:
        logits: ``[N, C, H, W]``.
        target: ``[N, H, W]`` class indices; others (255) count for none.

    Returns:
        ``[2, C]`` float32: the sums, and the numbers of pixels.
    """
    logits = logits.float()
    num_classes = logits.shape[1]
    inside = target < num_classes
    labelled = logits.gather(1, torch.where(inside, target, 0)[:, None])[:, 0]
    probability = (labelled - logits.logsumexp(dim=1)).exp()
    # One more class takes the pixels of none.
    groups = torch.where(inside, target, num_classes).flatten()
    sums = torch.zeros(2, num_classes + 1, device=logits.device)
    sums.index_add_(1, groups, torch.stack((probability, torch.ones_like(probability))).flatten(1))
    return sums[:, :-1].contiguous()  # processes add it up, which takes no view


@MODELS.register_module()
class StreamWatch(Part):
    """Keeps what an online step's memory and its draws ask of the last batch; adds no loss.

    Args:
        confidence: Whether :func:`class_confidence` is asked for.
        features: Whether the embedding is.

    Attributes:
        confidence: Of the last batch, ``[2, C]``.
        batch: The last batch, with a detached embedding.
    """

    uses_teacher = False
    takes_unknown = True

    def __init__(self, confidence: bool = False, features: bool = False) -> None:
        self.needs = Needs(logits=confidence, embedding=features)
        self.confidence: Tensor = ABSENT
        self.batch: StepBatch = ABSENT

    def loss(self, batch: StepBatch) -> None:
        if self.needs.logits:
            with torch.no_grad():
                self.confidence = class_confidence(batch.student.logits, batch.raw_target)
        if self.needs.embedding:
            batch.student.embedding = batch.student.embedding.detach()
            self.batch = batch
