import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcss.losses import (UnbiasedCrossEntropyLoss, UnbiasedDistillation, unbiased_cross_entropy,
                          unbiased_distillation)
from mmcss.parts import Prediction, StepBatch
from mmcss.scenario import Split
from tests.losses import loops


def random(*shape, seed=0, scale=3.):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(*shape, classes, seed=0):
    """Labels with every class, old ones too, and a fifth of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, shape, generator=generator)
    target[torch.rand(shape, generator=generator) < .2] = 255
    assert len(target.unique()) == classes + 1
    return target


@pytest.mark.parametrize('num_old', [1, 3, 5])
def test_unbiased_cross_entropy_per_pixel(num_old):
    logits, target = random(2, 6, 5, 7), labels(2, 5, 7, classes=6)
    loss = unbiased_cross_entropy(logits, target, num_old)
    np.testing.assert_allclose(loss, loops.unbiased_cross_entropy(logits, target, num_old), rtol=1e-5, atol=1e-6)
    assert (loss[target == 255] == 0).all() and (loss[target != 255] > 0).all()


def test_labels_of_old_classes_are_taught_as_they_are():
    """Images that are replayed, or of the sequential regime, have such labels."""
    logits, target = random(2, 6, 5, 5), labels(2, 5, 5, classes=6)
    before = target.clone()
    loss = unbiased_cross_entropy(logits, target, 4)
    assert torch.equal(target, before)
    plain = F.cross_entropy(logits, target, reduction='none', ignore_index=255)
    torch.testing.assert_close(loss[target > 0], plain[target > 0])
    assert (loss[target == 0] < plain[target == 0]).all()


def test_without_old_classes_it_is_cross_entropy():
    logits, target = random(2, 4, 5, 5), labels(2, 5, 5, classes=4)
    plain = F.cross_entropy(logits, target, reduction='none', ignore_index=255)
    torch.testing.assert_close(unbiased_cross_entropy(logits, target, 1), plain)


def test_another_ignore_index():
    logits, target = random(1, 4, 3, 3), torch.tensor([[[0, 1, 7], [3, 7, 2], [7, 7, 3]]])
    loss = UnbiasedCrossEntropyLoss(2)(logits, target, ignore_index=7)
    expected = loops.unbiased_cross_entropy(logits, target, 2, ignore=7).sum() / 5
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('average', ['valid', 'all'])
def test_pixel_weights_multiply_and_do_not_change_the_divisor(average):
    logits, target = random(2, 5, 4, 6), labels(2, 4, 6, classes=5)
    loss = UnbiasedCrossEntropyLoss(3, loss_weight=.4, average=average)
    per_pixel = loops.unbiased_cross_entropy(logits, target, 3)
    divisor = (target != 255).sum().item() if average == 'valid' else target.numel()
    assert loss(logits, target).item() == pytest.approx(.4 * per_pixel.sum() / divisor, rel=1e-5)
    for weight in (random(2, 4, 6).abs(), torch.tensor([.25, 0.]).view(2, 1, 1)):
        expected = .4 * (per_pixel * weight.numpy()).sum() / divisor
        assert loss(logits, target, weight=weight).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('average', ['valid', 'all'])
def test_a_batch_without_a_valid_pixel(average):
    logits = random(2, 5, 4, 4).requires_grad_()
    loss = UnbiasedCrossEntropyLoss(3, average=average)(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    student, teacher = random(2, 6, 5, 5, scale=20).to(dtype), random(2, 4, 5, 5, seed=1, scale=20).to(dtype)
    target = labels(2, 5, 5, classes=6)
    loss = unbiased_cross_entropy(student, target, 4)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, unbiased_cross_entropy(student.float(), target, 4))
    loss = unbiased_distillation(student, teacher)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, unbiased_distillation(student.float(), teacher.float()))


def test_large_logits_stay_finite():
    logits = torch.tensor([3e4, -3e4, 0., 3e4]).view(1, 4, 1, 1).requires_grad_()
    loss = unbiased_cross_entropy(logits, torch.tensor([[[2]]]), 2) + unbiased_distillation(logits, -logits[:, :2].detach())
    loss.sum().backward()
    assert loss.isfinite().all() and loss.item() > 1e4
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('num_old, alpha', [(1, 1.), (3, 1.), (3, 2.5), (5, .5), (6, 1.)])
def test_unbiased_distillation_per_pixel(num_old, alpha):
    student, teacher = random(2, 6, 4, 5, scale=2), random(2, num_old, 4, 5, seed=1, scale=2)
    expected = loops.unbiased_distillation(student, teacher, alpha)
    np.testing.assert_allclose(unbiased_distillation(student, teacher, alpha), expected, rtol=1e-5, atol=1e-6)


def test_unbiased_distillation_is_least_where_background_is_shared():
    """New classes that take their probability from background only contradict the teacher in nothing."""
    teacher = random(2, 4, 3, 3)
    share = math.log(3)
    student = torch.cat((teacher[:, :1] - share, teacher[:, 1:], teacher[:, :1].expand(-1, 2, -1, -1) - share), dim=1)
    student.requires_grad_()
    loss = unbiased_distillation(student, teacher)
    np.testing.assert_allclose(loss.detach(), loops.entropy(teacher) / 4, rtol=1e-5, atol=1e-6)
    loss.sum().backward()
    torch.testing.assert_close(student.grad, torch.zeros_like(student), rtol=0, atol=1e-6)
    other = student.detach().clone()
    other[:, 4] += 1  # no longer background's
    assert (unbiased_distillation(other, teacher) > loss).all()


def test_labels_of_old_classes_are_taught_or_stand_for_any_old_class():
    logits = torch.randn(1, 5, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    target = torch.tensor([[[2, 0, 4]]])
    taught, background = (unbiased_cross_entropy(logits, target, 3, old_labels=way)[0, 0].tolist()
                         for way in ('taught', 'background'))
    p = logits[0, :, 0].softmax(dim=0)
    any_old = -p[:3].sum(dim=0).log()
    assert taught == pytest.approx([-p[2, 0].log().item(), any_old[1].item(), -p[4, 2].log().item()], rel=1e-5)
    assert background == pytest.approx([any_old[0].item(), any_old[1].item(), -p[4, 2].log().item()], rel=1e-5)


@pytest.mark.parametrize('align_corners', [False, True])
def test_distillation_part_covers_every_pixel_at_the_resolution_of_the_labels(align_corners):
    split = Split(1, ('background', 'a', 'b'), ('c', 'd'), (), ('background', 'a', 'b'), 'background')
    student, teacher = random(2, 5, 3, 4), random(2, 3, 3, 4, seed=1)
    target = torch.full((2, 6, 9), 255)  # ignored pixels are distilled as well
    batch = StepBatch(split, target, target)
    batch.student = Prediction(student, (6, 9), align_corners)
    batch.teacher = Prediction(teacher, (6, 9), align_corners)
    large = [F.interpolate(x, (6, 9), mode='bilinear', align_corners=align_corners) for x in (student, teacher)]
    expected = 7 * loops.unbiased_distillation(*large, alpha=1.5).mean()
    assert UnbiasedDistillation(loss_weight=7, alpha=1.5).loss(batch).item() == pytest.approx(expected, rel=1e-5)
