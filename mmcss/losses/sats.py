"""SATS: transfer of self-attention, pooled over the regions of classes (Qiu et al., Pattern Recognition 2023).

Authors' code: https://github.com/QIU023/SATS_Continual_Semantic_Seg
"""
from __future__ import annotations

from typing import Literal, Optional, Sequence, Tuple

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import Counts, NotNegative
from ..parts import Attention, Needs, Part, Prediction, StepBatch
from .sdr import nearest_labels

Layout = Literal['permute', 'reshape']
Pooling = Literal['class', 'global', 'none']
LAYOUT: Layout = 'permute'
POOLING: Pooling = 'class'


def rows_of_cells(weights: Tensor, layout: Layout = LAYOUT) -> Tensor:
    """Rows of attention by cell and head.

    Args:
        weights: ``[N, heads, cells, keys]``.
        layout: 'permute'; or 'reshape', the slip of the released code, which
            mixes up the cells and heads of a stage of several heads.

    Returns:
        ``[N, cells, heads, keys]``.
    """
    if layout == 'reshape':
        return weights.reshape(len(weights), weights.shape[2], weights.shape[1], weights.shape[3])
    return weights.transpose(1, 2)


def region_means(rows: Tensor, labels: Tensor, classes: range) -> Tuple[Tensor, Tensor]:
    """Mean row of attention over the cells of each class (class-specific region pooling).

    Args:
        rows: ``[N, cells, heads, keys]`` float32.
        labels: ``[N, cells]``; any but ``classes`` count for none.
        classes: The classes, C of them.

    Returns:
        ``[N, C, heads, keys]`` means, 0 for a class without a cell; and
        ``[N, C]`` bool: which classes have cells.
    """
    wanted = torch.arange(classes.start, classes.stop, device=labels.device)
    regions = labels[:, None] == wanted[:, None]
    counts = regions.sum(dim=2)
    shares = regions / counts.clamp(min=1)[..., None]
    return torch.bmm(shares, rows.flatten(2)).unflatten(2, rows.shape[2:]), counts > 0


def attention_distance(student: Tensor, teacher: Tensor, labels: Tensor, classes: range, squared: bool = False,
                       layout: Layout = LAYOUT, pooling: Pooling = POOLING) -> Tensor:
    """Distance between the attention of two models at one stage (SATS, eq. 1 and 2).

    Pooling is linear: the difference is pooled once.

    Args:
        student: ``[N, heads, cells, keys]`` after the softmax; computed in
            float32.
        teacher: Likewise, without gradient.
        labels: ``[N, cells]``, see :func:`nearest_labels`.
        classes: The classes whose regions are compared.
        squared: Square the norms.
        layout: See :func:`rows_of_cells`.
        pooling: Over the regions of each 'class', 'global' over all cells, or
            'none'.

    Returns:
        Scalar: the mean over images of the mean over the classes that an
        image has (0 for an image without) of the mean over heads of the norm
        over keys. Its gradient is 0 where both agree.
    """
    rows = rows_of_cells(student.float() - teacher.float(), layout)
    if pooling != 'class':
        return _norms(rows.mean(dim=1) if pooling == 'global' else rows, squared).mean()
    means, present = region_means(rows, labels, classes)
    # A class without a cell has a difference, and a norm, of 0.
    norms = _norms(means, squared).mean(dim=2)
    return (norms.sum(dim=1) / present.sum(dim=1).clamp(min=1)).mean()


def _norms(x: Tensor, squared: bool) -> Tensor:
    return x.square().sum(dim=-1) if squared else torch.linalg.vector_norm(x, dim=-1)


@MODELS.register_module()
class AttentionTransfer(Part):
    """SATS's distillation of attention between student and teacher: the mean of :func:`attention_distance` over stages.

    Regions are those of the completed labels: new classes by their labels,
    old ones by pseudo labels; background and ignored pixels are left out.

    Args:
        loss_weight: Factor on the loss (lambda_a; paper and authors' code:
            20, which suits the plain norm).
        squared: Square the norms, as the paper's eq. 2 prints. A row sums to
            1 over hundreds of keys: squared distances are a hundredth or less
            of plain ones, and the term has hardly any effect.
        layout: See :func:`rows_of_cells`.
        pooling: See :func:`attention_distance` (the paper's ablation of CRP,
            GP and NP).
        stages: Numbers of the stages to compare, from 1 as in the paper's
            ablation; None for all.
    """

    needs = Needs(attention=True)

    def __init__(self, loss_weight: NotNegative = 20.0, squared: bool = False, layout: Layout = LAYOUT,
                 pooling: Pooling = POOLING, stages: Optional[Counts] = None) -> None:
        self.loss_weight = loss_weight
        self.squared = squared
        self.layout = layout
        self.pooling = pooling
        self.stages = stages

    def loss(self, batch: StepBatch) -> Tensor:
        classes = range(batch.split.first_foreground, batch.split.num_seen)
        # Rows are small numbers, and means over a large region add up many.
        with torch.autocast(batch.target.device.type, enabled=False):
            terms = [
                attention_distance(new.weights, old.weights, nearest_labels(batch.target, new.grid).flatten(1), classes,
                                   self.squared, self.layout, self.pooling)
                for new, old in zip(self._chosen(batch.student), self._chosen(batch.teacher), strict=True)
            ]
        return self.loss_weight * torch.stack(terms).mean()

    def _chosen(self, prediction: Prediction) -> Sequence[Attention]:
        attention = prediction.attention
        if self.stages is None:
            return attention
        if max(self.stages) > len(attention):
            raise ValueError(f'stages: got {list(self.stages)!r}, but this backbone has {len(attention)}; '
                             'correct continual.losses in the config.')
        return [attention[number - 1] for number in self.stages]
