"""SDR: the part that keeps prototypes and shapes the latent map; equations and sources: :mod:`mmcss.losses.sdr`."""
from __future__ import annotations

from typing import Any, Dict, Iterable, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object, all_reduce
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import ABSENT, NotNegative
from ..parts import Needs, Part, Prediction, StepBatch
from ..scenario import IGNORE, Split
from .prototypes import class_means
from .reduce import LargestOverProcesses, averaged
from .sdr import attraction, error_sums, members, nearest_labels, prototype_matching, region_sums, repulsion, sparsity

Sums = Dict[str, Tuple[Tensor, ...]]  # of each term: sums, and numbers of cells


@MODELS.register_module()
class LatentShaping(Part):
    """SDR's prototypes, and the four terms that shape the latent map around them.

    A prototype is the mean of all feature vectors labelled with a class, over
    all iterations, steps and processes. It is a target without gradient: a
    batch is compared with the prototypes of earlier batches and enters them
    at its update. (The paper has them follow "on the fly"; this order keeps a
    batch from being its own target.) Features whose update mixed precision
    skips enter at the next one, unless they have overflowed. In the overlapped
    and disjoint regimes only new classes are labelled, so that prototypes of
    old ones do not change.

    Background pixels that the teacher predicts as an old class belong to this
    pseudo class in all four terms, but don't enter prototypes. Matching is
    over pseudo classes, so from step 1 on; attraction over classes that have a
    prototype; sparsity over all valid pixels, background included. With
    ``continual.over_processes``, class means and the divisors of features are
    those of all processes' batches.

    Args:
        matching: Weight of :func:`prototype_matching` (authors' code: 0.01).
        attraction: Weight of :func:`attraction` (1e-3).
        repulsion: Weight of :func:`repulsion` (1e-3).
        sparsity: Weight of :func:`sparsity` (1e-3, or 1e-4 in the settings
            that the authors recommend to begin with).
        background: Whether the background is a class of the first three
            terms. In the overlapped regime, and in the disjoint one after
            step 0, it hides other classes.
        first_step: Whether step 0 is shaped too. The authors train it without
            the terms; prototypes are then taken from the trained model.
    """

    needs = Needs(backbone_output=True)
    from_first_step = True
    mean_over_images = False
    about_new_classes = True
    per_class = {'prototypes': 0, 'counts': 0}

    def __init__(self, matching: NotNegative = 0.01, attraction: NotNegative = 1e-3, repulsion: NotNegative = 1e-3,
                 sparsity: NotNegative = 1e-3, background: bool = False, first_step: bool = True) -> None:
        self.weights = dict(matching=matching, attraction=attraction, repulsion=repulsion, sparsity=sparsity)
        self.background = background
        self.first_step = first_step
        # In double precision: millions of vectors are counted.
        self.prototypes = torch.zeros(0, 0, dtype=torch.float64)  # [classes so far, D]
        self.counts = torch.zeros(0, dtype=torch.float64)  # vectors in each prototype
        self.collected: Optional[Tensor] = None  # [C, D + 1] sums and counts since the last update
        self._labels: Tensor = ABSENT  # of the cells, before pseudo labels; from a batch's loss to its observation

    def loss(self, batch: StepBatch) -> Optional[Tensor]:
        if batch.split.step == 0 and not self.first_step:
            return None
        features = batch.student.backbone_output.float()
        labels = self._labels = nearest_labels(batch.target, features.shape[2:])
        self._make_room(batch.split.num_seen, features.shape[1], features.device)
        prototypes = self.prototypes.float()
        first = 0 if self.background else batch.split.first_foreground
        is_class = torch.arange(len(prototypes), device=labels.device) >= first
        known = is_class & (self.counts > 0)
        sums: Sums = {}
        if batch.teacher is not None:
            predicted = predicted_classes(batch.teacher, labels.shape[1:])
            pseudo = torch.where(labels == 0, predicted, IGNORE)
            labels = torch.where(labels == 0, predicted, labels)
            if self.weights['matching']:
                sums['matching'] = region_sums(features, pseudo, len(prototypes))
        if self.weights['attraction']:
            sums['attraction'] = error_sums(features, labels, prototypes)
        if self.weights['repulsion']:
            sums['repulsion'] = region_sums(features, labels, len(prototypes))
        if self.weights['sparsity']:
            sums['sparsity'] = (members(labels, len(prototypes)).sum(), )
        if not sums:
            return None
        if batch.over_processes:
            sums = _averaged(sums)
        terms = _terms(sums, prototypes, is_class, known)
        if 'sparsity' in sums:
            shared: Dict[str, Any] = dict(largest_of=LargestOverProcesses.apply) if batch.over_processes else {}
            terms['sparsity'] = sparsity(features, labels, len(prototypes), sums['sparsity'][0], **shared)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def observe(self, batch: StepBatch) -> None:
        if batch.split.step > 0 or self.first_step:
            self._collect(batch.student.backbone_output, self._labels, batch.split)

    def before_update(self) -> None:
        if self.collected is not None:
            all_reduce(self.collected)
            self._fold(self.collected)

    def after_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        self.before_update()  # of iterations that no update followed
        if self.counts.any():
            return
        # The step was trained without this part: only its model is known.
        for batch in batches:
            features = batch.student.backbone_output
            self._collect(features, nearest_labels(batch.target, features.shape[2:]), split)
        collected = None if self.collected is None else self.collected.cpu()
        gathered = [sums for sums in all_gather_object(collected) if sums is not None]  # a process may have had no image
        if gathered:
            self._make_room(split.num_seen, gathered[0].shape[1] - 1, gathered[0].device)
            self._fold(torch.stack(gathered).sum(dim=0))

    def _collect(self, features: Tensor, labels: Tensor, split: Split) -> None:
        self._make_room(split.num_seen, features.shape[1], features.device)
        sums, counts = region_sums(features.detach(), labels, split.num_seen)
        batch = torch.cat((sums, counts[:, None]), dim=1).double()
        # Features that overflow would spoil the mean for good, although mixed precision skips their update.
        batch = torch.where(batch.isfinite().all(), batch, 0)
        self.collected = batch if self.collected is None else self.collected + batch

    def _fold(self, collected: Tensor) -> None:
        sums, counts = collected[:, :-1], collected[:, -1]
        self.counts = self.counts + counts
        share = (counts / self.counts.clamp(min=1))[:, None]
        self.prototypes = self.prototypes + share * (class_means(sums, counts) - self.prototypes)
        self.collected = None

    def _make_room(self, num_classes: int, channels: int, device: torch.device) -> None:
        """Give each class of the step a row, on the device of the features."""
        before, width = self.prototypes.shape
        if before and width != channels:
            raise ValueError(f'the prototypes of the step before have {width} channels, the backbone gives {channels}; '
                             'train all steps with the same backbone.')
        if (before, width) != (num_classes, channels):
            self.prototypes = F.pad(self.prototypes, (0, channels - width, 0, num_classes - before))
            self.counts = F.pad(self.counts, (0, num_classes - before))
        self.prototypes, self.counts = self.prototypes.to(device), self.counts.to(device)

    def load_previous(self, state: Dict[str, Tensor]) -> None:
        self.prototypes, self.counts, self.collected = state['prototypes'], state['counts'], None

    def state_dict(self) -> Dict[str, Tensor]:
        return dict(prototypes=self.prototypes, counts=self.counts)

    load_state_dict = load_previous


def predicted_classes(teacher: Prediction, grid: Sequence[int]) -> Tensor:
    """``[N, h, w]`` the teacher's best class in each cell of the features' grid."""
    logits = teacher.head_logits
    if logits.shape[2:] != grid:
        logits = F.interpolate(logits.float(), tuple(grid), mode='bilinear', align_corners=teacher.align_corners)
    return logits.argmax(dim=1)


def _averaged(sums: Sums) -> Sums:
    """All sums averaged over the processes, in one exchange."""
    flat = iter(averaged(*(value for values in sums.values() for value in values)))
    return {name: tuple(next(flat) for _ in values) for name, values in sums.items()}


def _terms(sums: Sums, prototypes: Tensor, is_class: Tensor, known: Tensor) -> Dict[str, Tensor]:
    """Those terms that are computed from sums over classes, by name."""
    terms, present = {}, {name: values[-1] > 0 for name, values in sums.items()}
    if 'matching' in sums:
        terms['matching'] = prototype_matching(class_means(*sums['matching']), prototypes, known & present['matching'])
    if 'attraction' in sums:
        errors, counts = sums['attraction']
        terms['attraction'] = attraction(errors, counts, known)
    if 'repulsion' in sums:
        terms['repulsion'] = repulsion(class_means(*sums['repulsion']), is_class & present['repulsion'])
    return terms
