"""The losses against the numbers of the authors' own functions (see data/README.md)."""
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcss.losses import (UnbiasedCrossEntropyLoss, fold_new_into_background, local_pod, pooled_strips,
                          unbiased_distillation)
from mmcss.losses.plop import LocalPOD
from mmcss.models.new_rows import share_background
from mmcss.parts import Prediction, StepBatch
from mmcss.scenario import Split

DATA = Path(__file__).parent / 'data'


def load(name):
    with np.load(DATA / f'{name}.npz') as arrays:
        return {key: torch.from_numpy(arrays[key]) if arrays[key].ndim else arrays[key].item() for key in arrays.files}


def agree(loss, golden, *pairs):
    """The loss to 1e-5, gradients to 1e-4, both relative."""
    loss.backward()
    assert loss.item() == pytest.approx(golden['loss'], rel=1e-5)
    for tensor, expected in pairs:
        assert torch.linalg.vector_norm(tensor.grad - expected) <= 1e-4 * torch.linalg.vector_norm(expected)


def test_unbiased_cross_entropy():
    """The file holds the mean over valid pixels; the closed-form number below is over all of them."""
    golden = load('mib_unbiased_cross_entropy')
    student = golden['student'].requires_grad_()
    loss = UnbiasedCrossEntropyLoss(golden['num_old'])(student, golden['labels'].long())
    agree(loss, golden, (student, golden['grad']))


def test_unbiased_distillation():
    golden = load('mib_unbiased_knowledge_distillation')
    student = golden['student'].requires_grad_()
    loss = unbiased_distillation(student, golden['teacher'], golden['alpha']).mean()
    agree(loss, golden, (student, golden['grad']))


def test_balanced_initialisation():
    golden = load('mib_classifier_init')
    num_old, num_new = len(golden['old_bias']), golden['num_new']
    weight = torch.cat((golden['old_weight'], torch.randn(num_new, *golden['old_weight'].shape[1:])))
    bias = torch.cat((golden['old_bias'], torch.randn(num_new)))
    share_background('conv_seg.weight', weight, num_old)
    share_background('conv_seg.bias', bias, num_old)
    torch.testing.assert_close(weight[num_old:], golden['new_weight'])
    torch.testing.assert_close(bias[num_old:], golden['new_bias'])
    assert bias[0].item() == pytest.approx(golden['background_bias'])
    assert torch.equal(weight[:num_old], golden['old_weight'])
    assert torch.equal(bias[1:num_old], golden['old_bias'][1:])


@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('remainder', ['share', 'drop'])
def test_local_pod_embedding(number, remainder):
    golden = load(f'plop_local_pod_embedding_{number}')
    if remainder == 'share' and any(size % 4 for size in golden['x'].shape[2:]):
        pytest.fail('the golden maps divide by 4, so that both settings must agree')
    strips = pooled_strips(golden['x'].square(), golden['scales'].tolist(), remainder)
    embedding = torch.cat([strip.flatten(1) for strip in strips], dim=1).sort(dim=1).values
    torch.testing.assert_close(embedding, golden['embedding_sorted'], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('number', [0, 1])
def test_local_pod(number):
    """Sizes 16 and 8 divide by all scales; 12 and 6 do not, where the authors' code drops the last rows and columns."""
    golden = load(f'plop_local_pod_{number}')
    new = [golden[f'new_{i}'].requires_grad_() for i in range(3)]
    old = [golden[f'old_{i}'] for i in range(3)]
    num_old, num_new = golden['num_old'], golden['num_new']
    split = Split(1, tuple(map(str, range(num_old))), tuple(map(str, range(num_old, num_old + num_new))), (), ())
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    batch = StepBatch(split, labels, labels)
    batch.student = Prediction(new[2], (16, 16), stages=(new[0], ), embedding=new[1])
    batch.teacher = Prediction(old[2], (16, 16), stages=(old[0], ), embedding=old[1])
    part = LocalPOD(golden['feature_weight'], golden['logit_weight'], golden['scales'].tolist(), remainder='drop')
    agree(part.loss(batch), golden, *((new[i], golden[f'grad_{i}']) for i in range(3)))


def wave(shape, a, b, scale):
    """The closed-form inputs of the published test vectors: scale * sin(a n + b)."""
    n = torch.arange(np.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(a * n + b)).reshape(shape)


def test_closed_form_losses():
    """Numbers of the authors' functions on closed-form float64 inputs."""
    student, teacher = wave((2, 5, 4, 4), .7, .3, 2), wave((2, 3, 4, 4), 1.1, -.4, 2)
    first = torch.tensor([[0, 0, 3, 4], [255, 0, 3, 0], [4, 4, 0, 0], [3, 0, 255, 0]])
    labels = torch.stack((first, first.flip(0)))
    unce = UnbiasedCrossEntropyLoss(3, average='all')(student, labels)
    assert unce.item() == pytest.approx(1.306012556125522, rel=1e-6)
    assert unbiased_distillation(student, teacher).mean().item() == pytest.approx(0.6206808868353046, rel=1e-6)


def test_closed_form_pod():
    a, b = wave((2, 3, 8, 8), .37, .10, 1.5), wave((2, 3, 8, 8), .37, .15, 1.5)
    assert local_pod(b, a).item() == pytest.approx(1.2572025852026059, rel=1e-6)
    old, new = wave((2, 3, 8, 8), .53, .2, 3), wave((2, 5, 8, 8), .29, .9, 3)
    assert local_pod(fold_new_into_background(new, 3), old).item() == pytest.approx(335.4602418703049, rel=1e-6)


@pytest.mark.parametrize('size, length, total', [(10, 248, 14.611151903033273), (9, 228, -1.1800273871117781)])
def test_closed_form_embedding_of_sizes_that_do_not_divide(size, length, total):
    strips = pooled_strips(wave((1, 2, size, size), .37, .1, 1.5), remainder='drop')
    embedding = torch.cat([strip.flatten() for strip in strips])
    assert len(embedding) == length
    assert embedding.sum().item() == pytest.approx(total, rel=1e-6)
