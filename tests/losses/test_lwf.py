import numpy as np
import pytest
import torch

from mmcss.losses import KnowledgeDistillation, knowledge_distillation, unbiased_distillation
from mmcss.parts import Prediction, StepBatch
from tests.losses import loops
from tests.losses.test_mib import random
from tests.models.makers import make_split


@pytest.mark.parametrize('alpha', [1., 2.])
def test_per_pixel(alpha):
    student, teacher = random(2, 6, 3, 4), random(2, 4, 3, 4, seed=1)
    loss = knowledge_distillation(student, teacher, alpha)
    np.testing.assert_allclose(loss, loops.knowledge_distillation(student, teacher, alpha), rtol=1e-5)


def test_new_logits_get_no_gradient():
    student, teacher = random(2, 6, 3, 4).requires_grad_(), random(2, 4, 3, 4, seed=1)
    knowledge_distillation(student, teacher).sum().backward()
    assert student.grad[:, 4:].abs().max() == 0 and student.grad[:, :4].abs().max() > 0


def test_without_new_classes_it_is_the_unbiased_one():
    """As on domains, where the classes stay."""
    student, teacher = random(2, 4, 3, 4), random(2, 4, 3, 4, seed=1)
    torch.testing.assert_close(knowledge_distillation(student, teacher), unbiased_distillation(student, teacher))


def test_float16():
    student, teacher = random(2, 6, 3, 4).half(), random(2, 4, 3, 4, seed=1).half()
    loss = knowledge_distillation(student, teacher)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, knowledge_distillation(student.float(), teacher.float()))


def test_part_covers_every_pixel_at_label_resolution():
    student, teacher = random(2, 5, 3, 4), random(2, 3, 3, 4, seed=1)
    batch = StepBatch(make_split(3, 2), torch.full((2, 6, 8), 255), torch.full((2, 6, 8), 255))
    batch.student, batch.teacher = Prediction(student, (6, 8)), Prediction(teacher, (6, 8))
    large = [torch.nn.functional.interpolate(x, (6, 8), mode='bilinear') for x in (student, teacher)]
    expected = 7 * loops.knowledge_distillation(*large, 2.).mean()
    part = KnowledgeDistillation(loss_weight=7., alpha=2.)
    assert part.loss(batch).item() == pytest.approx(expected, rel=1e-5)
    assert part.needs.logits
