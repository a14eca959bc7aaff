"""RW: Riemannian walk (Chaudhry et al., ECCV 2018), without its memory."""
from __future__ import annotations

from typing import Dict, List, Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import Count, NotNegative, Share
from .ewc import ElasticWeightConsolidation
from .importance import Damping, Tensors, add_segment_score_
from .weight_regulariser import GradientOfMove, PerParameter, WeightPath, pick


@MODELS.register_module()
class RiemannianWalk(ElasticWeightConsolidation):
    """RW: the sum of EWC's importance and of a score, see :func:`add_segment_score_`.

    The score is summed over segments of some updates, and averaged with that
    of the steps before.

    Args:
        loss_weight: Factor on the penalty, 100 in MiB's and PLOP's code.
        alpha, start: See :class:`ElasticWeightConsolidation`.
        interval: Updates of a segment.
        gradient: The decrease of the loss along a segment: the sum of its
            moves, each times the 'previous' gradient, which caused it
            (paper), or its total move times the 'current' gradient, computed
            at its end (authors' code).
        damping: See :func:`add_segment_score_`.
        normalise: Scale both importances of each parameter to 0 to 1.
    """

    handed_on = ('fisher', 'score')

    def __init__(self, loss_weight: NotNegative = 100.0, alpha: Share = 0.9, start: NotNegative = 0.0,
                 interval: Count = 10, gradient: GradientOfMove = 'previous', damping: Damping = 1e-8,
                 normalise: bool = True) -> None:
        super().__init__(loss_weight, alpha, start, normalise)
        self.interval = interval
        self.gradient = gradient
        self.damping = damping
        self._path = WeightPath([], gradient)
        self._old_score: Dict[int, Tensor] = {}
        self._share: Dict[int, Tensor] = {}  # of the old score in the average

    def begin(self) -> None:
        super().begin()
        self._path = WeightPath(self._parameters if self.gradient == 'previous' else [], self.gradient)
        self._segment = [parameter.detach().clone() for parameter in self._parameters]  # where it began
        self._score = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._old_score, self._share = {}, {}

    def inherit(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().inherit(state)
        self._old_score = self._aligned(state['score'])
        # Rows that are new have no score to be averaged with.
        self._share = self._aligned({name: torch.full_like(score, .5) for name, score in state['score'].items()})

    def follow(self, touched: List[int], weights: PerParameter, gradients: PerParameter) -> None:
        closes = self._updates % self.interval == 0
        if self.gradient == 'previous':
            self._path.follow(touched, weights, gradients)
            if closes:
                self._close_segment(touched, weights, pick(self._path.saved, touched))
                torch._foreach_zero_(pick(self._path.saved, touched))
        elif closes:
            move = torch._foreach_sub(pick(self._segment, touched), weights)
            self._close_segment(touched, weights, torch._foreach_mul(move, gradients))
        super().follow(touched, weights, gradients)

    def _close_segment(self, touched: List[int], weights: PerParameter, path: Tensors) -> None:
        start = pick(self._segment, touched)
        add_segment_score_(pick(self._score, touched), path, start, weights, pick(self._fisher, touched), self.damping)
        torch._foreach_copy_(start, weights)

    def running(self) -> Dict[str, PerParameter]:
        path = self._path.tensors() if self.gradient == 'previous' else {}
        return dict(super().running(), score=self._score, segment=self._segment, **path)

    def finished(self) -> Dict[str, PerParameter]:
        if self.gradient == 'previous':  # a short step would have no whole segment
            self._path.close(self._parameters)
            self._close_segment(list(range(len(self._parameters))), list(self._parameters), self._path.saved)
            torch._foreach_zero_(self._path.saved)
        scores = [score.clamp(min=0) for score in self._score]
        for i, old in self._old_score.items():
            scores[i] = scores[i] + self._share[i] * (old - scores[i])
        return dict(fisher=self._fisher, score=scores)
