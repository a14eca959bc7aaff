import pytest
import torch

from mmcss.losses import FeatureDistillation
from mmcss.parts import Needs, Prediction, StepBatch
from tests.losses.test_mib import random
from tests.models.makers import make_split


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_mean_squared_error_of_the_bodies(dtype):
    student, teacher = random(2, 5, 3, 4).to(dtype), random(2, 5, 3, 4, seed=1).to(dtype)
    target = torch.zeros(2, 6, 8, dtype=torch.long)
    batch = StepBatch(make_split(3, 2), target, target)
    batch.student, batch.teacher = (Prediction(random(2, 5, 3, 4), (6, 8), backbone_output=body) for body in (student, teacher))
    expected = 3 * (student.double() - teacher.double()).square().mean().item()
    part = FeatureDistillation(loss_weight=3.)
    assert part.loss(batch).item() == pytest.approx(expected, rel=1e-5)
    assert part.needs == Needs(backbone_output=True)
