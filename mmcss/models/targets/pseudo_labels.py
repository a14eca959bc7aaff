"""Pseudo labels from the teacher."""
from __future__ import annotations

import math
from typing import Callable, Dict, Iterable, Literal, Optional, Tuple

import torch
from mmengine.dist import all_gather, all_reduce, get_rank
from mmseg.registry import MODELS
from torch import Tensor

from ...arguments import ABSENT, NotNegative, Share
from ...losses.entropy import CoarseHistogram, GroupHistogram, MedianPerGroup, entropy_and_class
from ...parts import Needs, Part, StepBatch
from ...scenario import IGNORE, Split

ESTIMATORS: Dict[str, Callable[[int], GroupHistogram]] = {'median': MedianPerGroup, 'histogram': CoarseHistogram}


@MODELS.register_module()
class EntropyPseudoLabels(Part):
    """Background pixels get the teacher's class where it is certain (PLOP, section 3.3).

    Before a step, the median of the teacher's entropy is computed for each
    predicted class, over the step's background pixels of all processes. In
    training, a background pixel whose entropy is below its class's median gets
    that class; other background pixels are ignored. The decode head's loss of
    an image is multiplied with nu, the accepted share of its background
    pixels.

    Args:
        measure: 'shannon' is the entropy in nats; 'code' the released code's,
            divided by C_old ln(C_old) ln(C), which hardly exceeds a hundredth
            of its range.
        estimator: Of the thresholds: 'median' is exact; 'histogram' the
            released code's :class:`CoarseHistogram`, for the measure 'code'.
        floor: Least threshold, in units of the measure, which accepts almost
            certain pixels whatever the median.
        filter: Use thresholds; otherwise every pixel is accepted.
        over_processes: Compute the thresholds from all processes' images; the
            released code has separate ones for each process.
        adaptive_factor: Multiply with nu.
        nu_without_background: nu of an image without background (after
            crops); 0 in the released code, which drops such images.
        overwrite_old: Treat labels of old classes, which remembered images
            have, like background, as SATS's released code does.
        infinite: Threshold of a class for which the estimator 'histogram'
            reaches no bin; None for infinity, as in PLOP's released code,
            which accepts all its pixels. SATS's has 0.005.
        true_background: Compute the thresholds from true background alone, as
            SATS's released code does, which has labels of all classes there.
    """

    per_class = {'thresholds': 1}

    def __init__(self, measure: Literal['shannon', 'code'] = 'shannon', estimator: Literal['median', 'histogram'] = 'median',
                 floor: NotNegative = 1e-3, filter: bool = True, over_processes: bool = True, adaptive_factor: bool = True,
                 nu_without_background: Share = 1.0, overwrite_old: bool = False, infinite: Optional[NotNegative] = None,
                 true_background: bool = False) -> None:
        self.measure = measure
        self.estimator = estimator
        self.floor = floor
        self.filter = filter
        self.over_processes = over_processes
        self.adaptive_factor = adaptive_factor
        self.nu_without_background = nu_without_background
        self.overwrite_old = overwrite_old
        self.infinite = infinite
        self.needs = Needs(logits=True, view=dict(ignore_others=True) if true_background else {})
        self.thresholds: Tensor = ABSENT  # a row for each process, or a single one for all

    def before_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        if not self.filter:
            self.thresholds = torch.full((1, split.num_old), float('inf'))
            return
        medians = ESTIMATORS[self.estimator](split.num_old)
        for batch in batches:
            uncertainty, predicted = self.uncertainty_and_class(batch)
            medians.add(uncertainty, predicted, batch.raw_target == 0)
        if self.over_processes:
            all_reduce(medians.counts)
        thresholds = medians.medians()
        if self.infinite is not None:
            thresholds = torch.where(thresholds == math.inf, self.infinite, thresholds)
        thresholds = thresholds.clamp(min=self.floor)
        self.thresholds = thresholds[None] if self.over_processes else torch.stack(all_gather(thresholds))

    def targets(self, batch: StepBatch) -> None:
        uncertainty, predicted = self.uncertainty_and_class(batch)
        self.thresholds = self.thresholds.to(uncertainty.device)
        thresholds = self.thresholds[get_rank() % len(self.thresholds)]
        candidates = batch.target < batch.split.num_old if self.overwrite_old else batch.target == 0
        accepted = candidates & (uncertainty < thresholds[predicted])
        completed = torch.where(accepted, predicted, IGNORE)
        batch.target = torch.where(candidates, completed, batch.target)
        if self.adaptive_factor:
            batch.pixel_weight = accepted_share(accepted, candidates, self.nu_without_background)

    def uncertainty_and_class(self, batch: StepBatch) -> Tuple[Tensor, Tensor]:
        """Uncertainty and predicted class of each pixel, both ``[N, H, W]``."""
        uncertainty, predicted = entropy_and_class(batch.teacher.logits)
        if self.measure == 'code':
            num_old, num_seen = max(batch.split.num_old, 2), batch.split.num_seen  # one class has no entropy
            uncertainty = uncertainty / (num_old * math.log(num_old) * math.log(num_seen))
        return uncertainty, predicted

    def state_dict(self) -> Dict[str, Tensor]:
        return {'thresholds': self.thresholds}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        self.thresholds = state['thresholds']


def accepted_share(accepted: Tensor, candidates: Tensor, without: float = 1.0) -> Tensor:
    """Share of an image's candidate pixels that are accepted (PLOP's nu).

    Args:
        accepted: ``[N, H, W]`` bool, a subset of ``candidates``.
        candidates: ``[N, H, W]`` bool.
        without: The share of an image without candidates.

    Returns:
        ``[N, 1, 1]`` float32 in 0 to 1.
    """
    total = candidates.sum(dim=(1, 2), keepdim=True)
    share = accepted.sum(dim=(1, 2), keepdim=True) / total.clamp(min=1)
    return torch.where(total > 0, share, without)
