"""Online EM (Yan et al., ACM MM 2021): relabelling and composite loss.

"An EM framework for online incremental learning of semantic segmentation",
https://arxiv.org/abs/2108.03613. No code was released.
"""
from __future__ import annotations

import math
from typing import Any, Optional, Tuple

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import ABSENT, NotNegative, Number, Share
from ..parts import StepBatch
from .decode_loss import DecodeLoss, LossName
from .reduce import averaged, by_count


def without_labelled(logits: Tensor, labelled: Tensor) -> Tensor:
    """Logits ``[N, C, H, W]`` in which the ``labelled`` classes of an image (``[N, C]`` bool) are impossible."""
    return logits.masked_fill(labelled[:, :, None, None], -math.inf)


def relabel(logits: Tensor, target: Tensor, labelled: Tensor, threshold: float = 0.8,
            ignore_index: int = 255) -> Tensor:
    """E-step: labels for pixels without label (online EM, section 3.3).

    Such a pixel has none of the classes that its image is labelled with: it
    may be background, an older class or one that was learned later.

    Args:
        logits: ``[N, C, H, W]`` of the model before the update.
        target: ``[N, H, W]``; 0 where there is no label.
        labelled: ``[N, C]`` bool: the classes that each image is labelled with.
        threshold: A pixel gets the best class if its probability, among all
            classes, is greater.
        ignore_index: Label of pixels without loss, and of pixels whose
            probability is less.
    """
    logits = logits.detach().float()
    best, predicted = without_labelled(logits, labelled).max(dim=1)
    sure = (best - logits.logsumexp(dim=1)).exp() > threshold
    return torch.where(target == 0, torch.where(sure, predicted, ignore_index), target)


def impossible_mass(logits: Tensor, labelled: Tensor) -> Tensor:
    """Minus the logarithm of the probability of those classes that an unlabelled pixel may have.

    Takes logits ``[N, C, H, W]`` and ``labelled`` as :func:`relabel` does;
    returns ``[N, H, W]``, at least 0.
    """
    logits = logits.float()
    return logits.logsumexp(dim=1) - without_labelled(logits, labelled).logsumexp(dim=1)


@MODELS.register_module()
class CompositeLoss(DecodeLoss):
    """Online EM's M-step, from step 1 on.

    Cross-entropy on labelled and relabelled pixels, and
    :func:`impossible_mass` on all unlabelled ones. One forward pass serves
    both steps: the labels come from the model as it is before the update.
    Each term is a mean over its pixels (the paper writes sums).

    Args:
        threshold: See :func:`relabel`; the paper's delta. None to relabel
            nothing.
        gamma: Factor on the second term (0.5 on VOC, 0.1 on ADE20K).
        num_old, loss_name, kwargs: See :class:`DecodeLoss`.
    """

    reads_batch = True

    def __init__(self, num_old: Number, threshold: Optional[Share] = 0.8, gamma: NotNegative = 0.5,
                 loss_name: LossName = 'loss_composite', **kwargs: Any) -> None:
        super().__init__(num_old, loss_name=loss_name, **kwargs)
        self.threshold = threshold
        self.gamma = gamma
        self.batch: StepBatch = ABSENT

    def forward(self, cls_score: Tensor, label: Tensor, weight: Optional[Tensor] = None, ignore_index: int = 255,
                reduction_override: Optional[str] = None, **kwargs: Any) -> Tensor:
        """See :meth:`DecodeLoss.forward`; class weights are those of the first term, by the completed label."""
        labelled, unlabelled = self.batch.labelled, label == 0
        threshold = math.inf if self.threshold is None else self.threshold
        completed = relabel(cls_score, label, labelled, threshold, ignore_index)
        valid = completed != ignore_index
        logits = cls_score.float()
        of_label = logits.gather(1, torch.where(valid, completed, 0)[:, None])[:, 0]
        terms = (self.of_label(torch.where(valid, logits.logsumexp(dim=1) - of_label, 0), completed),
                 torch.where(unlabelled, impossible_mass(logits, labelled), 0))
        if weight is not None:
            terms = (terms[0] * weight, terms[1] * weight)
        if reduction_override == 'none':
            return self.loss_weight * (terms[0] + self.gamma * terms[1])
        if self.average == 'valid':
            counts: Tuple[Tensor, ...] = (valid.sum(), unlabelled.sum())
            counts = averaged(*counts) if self.batch.over_processes else counts
            first, second = (by_count(term.sum(), count) for term, count in zip(terms, counts))
        else:
            share = 1 if self.batch.image_share is None else self.batch.image_share
            first, second = (term.mean() * share for term in terms)
        return self.loss_weight * (first + self.gamma * second)
