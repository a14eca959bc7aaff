"""REMINDER: class-similarity weighted distillation (Phan et al., CVPR 2022).

Authors' code: https://github.com/HieuPhan33/REMINDER
"""
from __future__ import annotations

from typing import Dict, Iterable, Literal, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import NotNegative, Positive
from ..parts import Needs, Part, Prediction, StepBatch
from ..scenario import Split
from .prototypes import class_means, class_sums
from .reduce import averaged, by_count


def similarity_weights(new: Tensor, old: Tensor, channels: Tensor, delta: float = 1.0) -> Tensor:
    """The weight of each old class on pixels of each new class (REMINDER, eq. 6 to 8).

    Args:
        new: ``[n, D]`` prototypes of the new classes; a zero row is equally
            similar to all.
        old: ``[k, D]`` prototypes of the old classes, background included.
        channels: ``[k]`` number of leading channels that an old prototype
            has; its similarities leave out the rest.
        delta: Weights below ``delta / k`` are cut to 0.

    Returns:
        ``[n, k]`` softmax over old classes of the cosine similarities, cut,
        not normalised again.
    """
    norms = new.square().cumsum(dim=1)[:, channels - 1].sqrt() * torch.linalg.vector_norm(old, dim=1)
    cosine = torch.where(norms > 0, new @ old.T / norms.clamp(min=1e-12), 0)
    similarity = cosine.softmax(dim=1)
    # Weights of classes that are equally similar to all lie on the bound, where rounding must not decide.
    least = delta / len(old) * (1 - 8 * torch.finfo(similarity.dtype).eps)
    return torch.where(similarity >= least, similarity, 0)


def weighted_distillation(student: Tensor, teacher: Tensor, target: Tensor, weights: Tensor,
                          temperature: float = 3.0) -> Tuple[Tensor, Tensor]:
    """Distillation of old classes on pixels of new ones, weighted by similarity (REMINDER, eq. 9 and 10).

    Args:
        student: ``[N, C, H, W]`` logits, old classes first; the softmax is
            over old classes.
        teacher: ``[N, k, H, W]`` logits.
        target: ``[N, H, W]`` class indices.
        weights: ``[n, k]`` of :func:`similarity_weights`.
        temperature: Divides both models' logits; the loss is multiplied with
            its square.

    Returns:
        ``[N, H, W]`` loss per pixel, 0 outside of new classes, and the mask
        of their pixels.
    """
    num_old = teacher.shape[1]
    log_student = (student[:, :num_old].float() / temperature).log_softmax(dim=1)
    probability = (teacher.float() / temperature).softmax(dim=1)
    new = (target >= num_old) & (target < num_old + len(weights))
    rows = weights[torch.where(new, target - num_old, 0)].permute(0, 3, 1, 2)
    # The authors' code adds the constant; it keeps every old class in the loss.
    recalled = probability * rows + 1e-7
    return torch.where(new, -temperature**2 * (recalled * log_student).sum(dim=1), 0), new


@MODELS.register_module()
class ClassSimilarityWeightedKD(Part):
    """REMINDER's CSW-KD, and the class prototypes that it needs.

    Prototypes of new classes are means over the batch (of all processes, with
    ``continual.over_processes``); those of old classes are taken at the end
    of the step in which they are new, over all processes.

    Args:
        loss_weight: Factor on the loss; not stated in the paper, 0.5 in the
            authors' code.
        temperature: See :func:`weighted_distillation`; from the authors' code.
        delta: See :func:`similarity_weights`; 1 in the paper and the authors'
            ADE20K scripts, 0 in their VOC scripts.
        source: Prototypes are means of the decode head's 'embedding'
            (authors' code), or of the 'logits' (paper).
        weighting: At the end of a step, means are over 'pixels' (paper), or
            over the means of 'batches' (authors' code).
        align_corners: How the source is upsampled to the labels; None as the
            decode head's logits, True in the authors' code.
        every_pixel: Average over all pixels, as the paper's eq. 10 reads, in
            place of those of new classes, as in the authors' code, with which
            ``loss_weight`` was tuned.
    """

    about_new_classes = True
    per_class = {'prototypes': 0, 'channels': 0}
    mean_over_images = False

    def __init__(self, loss_weight: NotNegative = 0.5, temperature: Positive = 3.0, delta: NotNegative = 1.0,
                 source: Literal['embedding', 'logits'] = 'embedding', weighting: Literal['pixels', 'batches'] = 'pixels',
                 align_corners: Optional[bool] = None, every_pixel: bool = False) -> None:
        self.needs = Needs(embedding=source == 'embedding', logits=True)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.delta = delta
        self.source = source
        self.weighting = weighting
        self.align_corners = align_corners
        self.every_pixel = every_pixel
        # [classes so far, D]; with the step's own classes if a run was stopped after after_step.
        self.prototypes = torch.zeros(0, 0)
        self.channels = torch.zeros(0, dtype=torch.int64)  # of each prototype

    def loss(self, batch: StepBatch) -> Tensor:
        split, device = batch.split, batch.target.device
        self.prototypes, self.channels = self.prototypes.to(device), self.channels.to(device)
        # The weights are part of the target, and in full precision.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            target = batch.target - split.num_old
            sums, counts = (values.sum(dim=0) for values in self._sums(batch.student, target, split.num_new))
            pixels = ((target >= 0) & (target < split.num_new)).sum()
            if batch.over_processes:
                sums, counts, pixels = averaged(sums, counts, pixels)
            new = class_means(sums, counts)
            old = F.pad(self.prototypes, (0, new.shape[1] - self.prototypes.shape[1]))[:split.num_old]
            weights = similarity_weights(new, old, self.channels[:split.num_old], self.delta)
        loss, _ = weighted_distillation(batch.student.logits, batch.teacher.logits, batch.target, weights, self.temperature)
        if not self.every_pixel:
            return self.loss_weight * by_count(loss.sum(), pixels)
        return self.loss_weight * loss.mean() * (1 if batch.image_share is None else batch.image_share)

    def after_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        local: Optional[Tuple[Tensor, Tensor]] = None
        for batch in batches:
            totals = self._sums(batch.student, batch.raw_target - split.num_old, split.num_new)
            sums, counts = (values.sum(dim=0).double() for values in totals)
            if self.weighting == 'batches':
                sums, counts = class_means(sums, counts), (counts > 0).double()
            local = (sums, counts) if local is None else (local[0] + sums, local[1] + counts)
        shares = all_gather_object(None if local is None else tuple(values.cpu() for values in local))
        # A process may have had no image.
        total, weight = (sum(values) for values in zip(*filter(None, shares)))
        new = class_means(total, weight).float()
        old, channels = self.prototypes[:split.num_old].cpu(), self.channels[:split.num_old].cpu()
        self.prototypes = torch.cat((F.pad(old, (0, new.shape[1] - old.shape[1])), new))
        self.channels = torch.cat((channels, torch.full((len(new), ), new.shape[1])))

    def _sums(self, prediction: Prediction, target: Tensor, num_classes: int) -> Tuple[Tensor, Tensor]:
        features = prediction.embedding if self.source == 'embedding' else prediction.head_logits
        align = prediction.align_corners if self.align_corners is None else self.align_corners
        return class_sums(features, target, num_classes, align)

    def load_previous(self, state: Dict[str, Tensor]) -> None:
        self.prototypes, self.channels = state['prototypes'], state['channels']

    def state_dict(self) -> Dict[str, Tensor]:
        return dict(prototypes=self.prototypes, channels=self.channels)

    load_state_dict = load_previous
