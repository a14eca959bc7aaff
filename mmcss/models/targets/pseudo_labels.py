"""Pseudo labels from the teacher."""
from __future__ import annotations

from typing import Dict, Iterable, Optional

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor

from ...losses.entropy import MedianPerGroup, entropy_and_class
from ...parts import Needs, Part, StepBatch
from ...scenario import IGNORE, Split


@MODELS.register_module()
class EntropyPseudoLabels(Part):
    """Background pixels take the teacher's class where it is sure (PLOP, section 3.3).

    Before a step, the median over the step's background pixels of the
    teacher's entropy is taken for each predicted class, over all processes.
    In training, a background pixel whose entropy lies below its class's
    median takes that class; other background pixels are ignored. The decode
    head's loss of an image is multiplied with nu, the accepted share of its
    background pixels (1 where it has none).

    Args:
        floor: Least threshold in nats. It lets through what is all but
            certain, whatever the median (the released code's 0.001).
        adaptive_factor: Multiply with nu.
    """

    needs = Needs(logits=True)

    def __init__(self, floor: float = 1e-3, adaptive_factor: bool = True) -> None:
        self.floor = floor
        self.adaptive_factor = adaptive_factor
        self.thresholds: Optional[Tensor] = None

    def before_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        medians = MedianPerGroup(split.num_old)
        for batch in batches:
            entropy, predicted = entropy_and_class(batch.teacher.logits)
            medians.add(entropy, predicted, batch.raw_target == 0)
        all_reduce(medians.counts)
        self.thresholds = medians.medians().clamp(min=self.floor)

    def targets(self, batch: StepBatch) -> None:
        entropy, predicted = entropy_and_class(batch.teacher.logits)
        self.thresholds = self.thresholds.to(entropy.device)
        background = batch.target == 0
        accepted = background & (entropy < self.thresholds[predicted])
        completed = torch.where(accepted, predicted, IGNORE)
        batch.target = torch.where(background, completed, batch.target)
        if self.adaptive_factor:
            batch.pixel_weight = accepted_share(accepted, background)

    def state_dict(self) -> Dict[str, Tensor]:
        return {'thresholds': self.thresholds}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        self.thresholds = state['thresholds']


def accepted_share(accepted: Tensor, candidates: Tensor) -> Tensor:
    """Share of an image's candidate pixels that were accepted (PLOP's nu).

    Args:
        accepted: ``[N, H, W]`` bool, a subset of ``candidates``.
        candidates: ``[N, H, W]`` bool.

    Returns:
        ``[N, 1, 1]`` float32 in 0 to 1; 1 where an image has no candidate.
    """
    total = candidates.sum(dim=(1, 2), keepdim=True)
    share = accepted.sum(dim=(1, 2), keepdim=True) / total.clamp(min=1)
    return torch.where(total > 0, share, 1)
