import math

import numpy as np
import pytest
import torch

from mmcss.losses import BinaryCrossEntropyLoss, BinaryDistillation, binary_cross_entropy, binary_distillation
from mmcss.parts import Prediction, StepBatch
from tests.losses import loops
from tests.losses.test_mib import labels, random
from tests.models.makers import make_split

TAUGHT = {(0, False): [0, 1, 2, 3, 4, 5], (4, False): [4, 5], (4, True): [0, 4, 5]}


@pytest.mark.parametrize('first, background', TAUGHT)
def test_classification_per_pixel(first, background):
    logits, target = random(2, 6, 5, 7), labels(2, 5, 7, classes=6)
    loss = binary_cross_entropy(logits, target, first, background)
    for n, i, j in loops.pixels(loss):
        label = int(target[n, i, j])
        taught = TAUGHT[first, background]
        expected = 0 if label == 255 else math.fsum(
            loops.binary_cross_entropy(logits[n, c, i, j].item(), float(c == label)) for c in taught)
        # Scores are subtracted from logarithms of about their size, or of 1.
        off = loops.rounding([*logits[n, taught, i, j], *[1.] * len(taught)])
        assert loss[n, i, j].item() == pytest.approx(expected, rel=1e-5, abs=off)


def test_at_the_first_step_all_classes_are_new():
    logits, target = random(2, 6, 5, 7), labels(2, 5, 7, classes=6)
    losses = [BinaryCrossEntropyLoss(num_old, classes=classes)(logits, target)
              for num_old, classes in ((0, 'new'), (0, 'all'), (4, 'all'), (4, 'new'))]
    assert losses[0] == losses[1] == losses[2] != losses[3]
    assert BinaryCrossEntropyLoss.from_first_step


@pytest.mark.parametrize('first', [0, 1])
def test_distillation_per_pixel(first):
    student, teacher = random(2, 6, 3, 4), random(2, 4, 3, 4, seed=1)
    loss = binary_distillation(student, teacher, first)
    for n, i, j in loops.pixels(loss):
        expected = math.fsum(
            loops.binary_cross_entropy(student[n, c, i, j].item(), 1 / (1 + math.exp(-teacher[n, c, i, j].item())))
            for c in range(first, 4))
        assert loss[n, i, j].item() == pytest.approx(expected, rel=1e-5)


def test_part():
    student, teacher = random(2, 6, 3, 4), random(2, 4, 3, 4, seed=1)
    batch = StepBatch(make_split(4, 2), labels(2, 3, 4, classes=6), labels(2, 3, 4, classes=6))
    batch.student, batch.teacher = Prediction(student, (3, 4)), Prediction(teacher, (3, 4))
    expected = 5 * binary_distillation(student, teacher).mean().item()
    assert BinaryDistillation(loss_weight=5.).loss(batch).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('average', ['valid', 'all'])
def test_average_and_weights(average):
    logits, target = random(2, 6, 5, 7), labels(2, 5, 7, classes=6)
    weight = random(2, 1, 1, seed=3).abs().expand(2, 5, 7)
    each = binary_cross_entropy(logits, target, 4, False) * weight
    number = (target != 255).sum() if average == 'valid' else target.numel()
    loss = BinaryCrossEntropyLoss(4, loss_weight=.3, average=average)(logits, target, weight)
    assert loss.item() == pytest.approx(.3 * each.sum().item() / int(number), rel=1e-6)


def test_ignored_pixels_alone_give_zero():
    logits = random(1, 5, 2, 2).requires_grad_()
    loss = BinaryCrossEntropyLoss(3)(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_large_logits_stay_finite():
    logits = torch.tensor([400., -400, 400, -400]).view(1, 4, 1, 1).requires_grad_()
    loss = binary_cross_entropy(logits, torch.tensor([[[3]]])) + binary_distillation(logits, logits.detach())
    loss.sum().backward()
    assert loss.isfinite().all() and logits.grad.isfinite().all()
    assert loss.item() == pytest.approx(1200)


def test_low_precision():
    logits, target = random(2, 6, 5, 7).bfloat16(), labels(2, 5, 7, classes=6)
    loss = binary_cross_entropy(logits, target)
    assert loss.dtype == torch.float32
    np.testing.assert_array_equal(loss, binary_cross_entropy(logits.float(), target))
