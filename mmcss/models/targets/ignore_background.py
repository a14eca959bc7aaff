"""Training on new classes alone."""
from __future__ import annotations

import torch
from mmseg.registry import MODELS

from ...parts import Part, StepBatch
from ...scenario import IGNORE


@MODELS.register_module()
class IgnoreBackground(Part):
    """Background pixels are ignored from step 1 on ("CE only on new", PLOP, table 6b)."""

    uses_teacher = False

    def targets(self, batch: StepBatch) -> None:
        batch.target = torch.where(batch.target == 0, IGNORE, batch.target)
