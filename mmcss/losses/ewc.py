"""EWC: elastic weight consolidation (Kirkpatrick et al., PNAS 2017), in its running form (EWC++ of RW)."""
from __future__ import annotations

from typing import Dict, List, Mapping, Tuple

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import NotNegative, Share
from .importance import update_fisher_
from .weight_regulariser import PerParameter, WeightRegulariser, pick


@MODELS.register_module()
class ElasticWeightConsolidation(WeightRegulariser):
    """EWC: the importance of a weight is its Fisher information, the mean square of its gradient.

    As in Riemannian walk's EWC++ the mean is a running one, over the batches
    of all steps. A new value counts ``alpha``: with 0.9 the importance is
    that of the last two batches.

    Args:
        loss_weight: Factor on the penalty; 100 in PLOP's code, 500 in MiB's.
        alpha: Weight of a new value, 0.9 in Riemannian walk and the code.
        start: Fisher information before the first update; 1 in the authors'
            code, where weights that never get a gradient keep it.
        normalise: Scale the importance of each parameter to 0 to 1, as the
            authors' code does.
    """

    handed_on: Tuple[str, ...] = ('fisher', )

    def __init__(self, loss_weight: NotNegative = 100.0, alpha: Share = 0.9, start: NotNegative = 0.0,
                 normalise: bool = True) -> None:
        super().__init__(loss_weight, normalise)
        self.alpha = alpha
        self.start = start

    def begin(self) -> None:
        self._fisher = [torch.full_like(parameter, self.start) for parameter in self._parameters]

    def inherit(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for i, fisher in self._aligned(state['fisher'], self.start).items():
            self._fisher[i] = fisher

    def follow(self, touched: List[int], weights: PerParameter, gradients: PerParameter) -> None:
        update_fisher_(pick(self._fisher, touched), gradients, self.alpha)

    def running(self) -> Dict[str, PerParameter]:
        return dict(fisher=self._fisher)

    finished = running
