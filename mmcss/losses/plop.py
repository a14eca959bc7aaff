"""PLOP: local POD, a distillation of features (Douillard et al., CVPR 2021).

Authors' code: https://github.com/arthurdouillard/CVPR2021_PLOP
"""
from __future__ import annotations

from functools import reduce
from typing import Callable, Dict, List, Literal, Mapping, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import Counts, NotNegative
from ..parts import Needs, Part, StepBatch

Remainder = Literal['share', 'drop']
SCALES = (1, 2, 4)
REMAINDER: Remainder = 'share'
Fold = Literal['logsumexp', 'sum', 'trim']
FOLD: Fold = 'logsumexp'
Strips = Tuple[Tensor, Tensor]  # over the columns, over the rows


def pooled_strips(x: Tensor, scales: Sequence[int] = SCALES, remainder: Remainder = REMAINDER) -> List[Tensor]:
    """Width- and height-pooled slices of every region of every scale (PLOP, eq. 3 and 4).

    At scale s the map is cut into s x s regions; each is averaged over its
    columns and over its rows. Pooling is linear, so the coarse scales are
    averages of the fine ones wherever the sizes divide.

    Args:
        x: ``[N, C, H, W]``.
        scales: Numbers of regions along each side.
        remainder: Where a side does not divide, 'share' cuts regions that
            cover the whole map and overlap by at most a pixel; 'drop' leaves
            out its last pixels, as the authors' code does for square maps.

    Returns:
        For each scale two tensors: ``[N, C, H, s]`` and ``[N, C, s, W]``.
    """
    strips: List[Tensor] = []
    finer: Dict[int, Strips] = {}
    for scale in sorted(scales, reverse=True):
        pair = _from_finer(finer, scale) or _pool(x, scale, remainder)
        if all(size % scale == 0 for size in x.shape[2:]):
            finer[scale] = pair
        strips.extend(pair)
    return strips


def _from_finer(finer: Mapping[int, Strips], scale: int) -> Optional[Strips]:
    """The strips of ``scale`` as averages of those of a multiple of it, if there is any."""
    for fine, (by_width, by_height) in finer.items():
        if fine % scale == 0:
            return (by_width.unflatten(3, (scale, fine // scale)).mean(4),
                    by_height.unflatten(2, (scale, fine // scale)).mean(3))
    return None


def _pool(x: Tensor, scale: int, remainder: Remainder) -> Strips:
    height, width = x.shape[2:]
    rows, columns = height // scale, width // scale
    if remainder == 'share' and (height % scale or width % scale):
        return F.adaptive_avg_pool2d(x, (height, scale)), F.adaptive_avg_pool2d(x, (scale, width))
    if not (rows and columns):
        raise ValueError(f"a map of {height} x {width} has no {scale} x {scale} whole regions; use remainder='share'.")
    x = x[:, :, :rows * scale, :columns * scale]
    return (x.unflatten(3, (scale, columns)).mean(4), x.unflatten(2, (scale, rows)).mean(3))


def local_pod(student: Tensor, teacher: Tensor, scales: Sequence[int] = SCALES, remainder: Remainder = REMAINDER,
              squared: bool = False) -> Tensor:
    """Distance between the local POD embeddings of one layer (PLOP, eq. 5).

    Both maps are squared, then their difference is pooled once. The norm is
    taken over all scales together.

    Args:
        student: ``[N, C, H, W]``; computed in float32, where squares of
            pre-activations can't overflow.
        teacher: Likewise, without gradient.
        scales, remainder: See :func:`pooled_strips`.
        squared: Square the norm, as the paper's notation reads; its weights
            were tuned with the plain norm of the released code.

    Returns:
        Scalar, the mean over the batch; its gradient is 0 where both agree.
    """
    difference = student.float().square() - teacher.float().square()
    strips = pooled_strips(difference, scales, remainder)
    squares = reduce(torch.add, (strip.square().sum(dim=(1, 2, 3)) for strip in strips))
    if squared:
        return squares.mean()
    # A masked root: the root's own gradient at 0 is infinite.
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0).mean()


def fold_new_into_background(logits: Tensor, num_old: int, fold: Fold = FOLD) -> Tensor:
    """``[N, num_old, h, w]`` logits in which background stands for the new classes, too.

    Args:
        logits: ``[N, C, h, w]``, old classes first.
        num_old: Number of old classes, background included.
        fold: 'logsumexp' adds up probabilities, as MiB does, so that a
            balanced start (new rows as shares of the background) folds back
            to the teacher's logits; 'sum' adds up logits, as PLOP's released
            code does; 'trim' leaves out the new ones.
    """
    return torch.cat((FOLDS[fold](logits, num_old), logits[:, 1:num_old]), dim=1)


FOLDS: Mapping[Fold, Callable[[Tensor, int], Tensor]] = {
    'logsumexp': lambda x, num_old: torch.cat((x[:, :1], x[:, num_old:]), dim=1).logsumexp(dim=1, keepdim=True),
    'sum': lambda x, num_old: x[:, :1] + x[:, num_old:].sum(dim=1, keepdim=True),
    'trim': lambda x, num_old: x[:, :1],
}


@MODELS.register_module()
class LocalPOD(Part):
    """Local POD over the backbone's stages, the decode head's embedding and the logits.

    The mean over layers is multiplied with sqrt(seen / new classes),
    background included.

    Args:
        loss_weight: Factor on stages and embedding (paper: 0.01).
        logits_weight: Factor on the logits (paper: 0.0005), which count as a
            layer even if it is 0.
        scales: See :func:`pooled_strips`; ``(1, )`` is POD (Douillard et al.,
            ECCV 2020).
        remainder, fold, squared: See :func:`pooled_strips`,
            :func:`fold_new_into_background` and :func:`local_pod`.
    """

    needs = Needs(stages=True, embedding=True)

    def __init__(self, loss_weight: NotNegative = 0.01, logits_weight: NotNegative = 0.0005, scales: Counts = SCALES,
                 remainder: Remainder = REMAINDER, fold: Fold = FOLD, squared: bool = False) -> None:
        self.loss_weight = loss_weight
        self.logits_weight = logits_weight
        self.scales = tuple(scales)
        self.remainder = remainder
        self.fold = fold
        self.squared = squared

    def loss(self, batch: StepBatch) -> Tensor:
        student, teacher, split = batch.student, batch.teacher, batch.split
        pairs = [*zip(student.maps, teacher.maps, strict=True), (student.embedding, teacher.embedding)]
        terms = [self.loss_weight * self._distance(new, old) for new, old in pairs]
        folded = fold_new_into_background(student.head_logits.float(), split.num_old, self.fold)
        terms.append(self.logits_weight * self._distance(folded, teacher.head_logits))
        # Steps of domains have no new classes.
        growth = split.num_seen / split.num_new if split.num_new else 1.0
        return growth**0.5 * torch.stack(terms).mean()

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        return local_pod(student, teacher, self.scales, self.remainder, self.squared)
