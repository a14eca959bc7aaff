"""ILT: incremental learning techniques (Michieli and Zanuttigh, ICCV workshops 2019).

As compared with in MiB: https://github.com/fcdl94/MiB
"""
from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ..arguments import NotNegative
from ..parts import Needs, Part, StepBatch


@MODELS.register_module()
class FeatureDistillation(Part):
    """Mean squared error between the backbones' last outputs (after the last ReLU).

    Args:
        loss_weight: Factor on the loss (MiB's and PLOP's comparisons: 100).
    """

    needs = Needs(backbone_output=True)
    takes_unknown = True

    def __init__(self, loss_weight: NotNegative = 100.0) -> None:
        self.loss_weight = loss_weight

    def loss(self, batch: StepBatch) -> Tensor:
        return self.loss_weight * F.mse_loss(batch.student.backbone_output.float(), batch.teacher.backbone_output.float())
