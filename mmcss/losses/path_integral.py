"""PI: path integral, or synaptic intelligence (Zenke et al., ICML 2017)."""
from __future__ import annotations

from typing import Dict, List, Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import NotNegative
from .importance import Damping, path_importance
from .weight_regulariser import GradientOfMove, PerParameter, WeightPath, WeightRegulariser


@MODELS.register_module()
class PathIntegral(WeightRegulariser):
    """PI (synaptic intelligence): importance is the decrease of the loss by a weight's moves, see :func:`path_importance`.

    It adds up over the steps.

    Args:
        loss_weight: Factor on the penalty; 100 in PLOP's code, 500 in MiB's.
        gradient: What a move is multiplied with: the 'previous' gradient,
            which caused it (paper), or the 'current' one, computed after it
            (authors' code).
        damping: See :func:`path_importance`; with the authors' 1e-20 a weight
            that has hardly moved can outweigh all others.
        normalise: Scale the importance of each parameter to 0 to 1, as the
            authors' code does.
    """

    handed_on = ('score', )

    def __init__(self, loss_weight: NotNegative = 100.0, gradient: GradientOfMove = 'previous',
                 damping: Damping = 1e-3, normalise: bool = True) -> None:
        super().__init__(loss_weight, normalise)
        self.gradient = gradient
        self.damping = damping
        self._path = WeightPath([], gradient)

    def begin(self) -> None:
        self._path = WeightPath(self._parameters, self.gradient)
        self._start = [parameter.detach().clone() for parameter in self._parameters]
        self._score = [torch.zeros_like(parameter) for parameter in self._parameters]  # of the steps before

    def inherit(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for i, score in self._aligned(state['score']).items():
            self._score[i] = score

    def follow(self, touched: List[int], weights: PerParameter, gradients: PerParameter) -> None:
        self._path.follow(touched, weights, gradients)

    def running(self) -> Dict[str, PerParameter]:
        return dict(self._path.tensors(), start=self._start)

    def finished(self) -> Dict[str, PerParameter]:
        self._path.close(self._parameters)
        moves = zip(self._path.saved, self._start, self._parameters, self._score)
        return dict(score=[score + path_importance(path, start, end, self.damping) for path, start, end, score in moves])
