import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmcss.engine.model_config import extended_model
from mmcss.models import grow
from mmcss.models.cosine_classifier import CosineClassifier
from tests.models.makers import encoder_decoder, images, initialise, labels, samples, total, with_classes

METAS = [dict(img_shape=(32, 32))] * 2


def made(classes, seed=0, **options):
    config = with_classes(dict(encoder_decoder(), test_cfg=dict(mode='whole')), classes)
    model = extended_model(config, None, dict(type='CosineClassifier', **options), (classes - 1, ))
    torch.manual_seed(seed)
    return MODELS.build(ConfigDict(model))


def test_scores_are_scaled_cosines():
    """Of (3, 4) with (1, 0), (0, -2) and (6, 8): 3/5, -4/5 and 1."""
    classifier = CosineClassifier(2, 3)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[1., 0], [0, -2], [6, 8]])[:, :, None, None])
    x = torch.tensor([3., 4]).view(1, 2, 1, 1).repeat(1, 1, 2, 3)
    expected = 12 * torch.tensor([.6, -.8, 1.]).view(1, 3, 1, 1).repeat(1, 1, 2, 3)
    torch.testing.assert_close(classifier(x), expected)
    torch.testing.assert_close(classifier(1e-3 * x), expected)  # lengths don't matter
    classifier.scale = 5.
    torch.testing.assert_close(classifier(x), expected * 5 / 12)


def test_against_loops_and_autograd():
    classifier, x = CosineClassifier(6, 4, scale=3.), torch.randn(2, 6, 2, 2, requires_grad=True)
    found = classifier(x)
    for n in range(2):
        for c in range(4):
            for i in range(2):
                for j in range(2):
                    a, b = x[n, :, i, j].tolist(), classifier.weight[c, :, 0, 0].tolist()
                    cosine = sum(p * q for p, q in zip(a, b)) / math.hypot(*a) / math.hypot(*b)
                    assert found[n, c, i, j].item() == pytest.approx(3 * cosine, abs=1e-5)
    expected = 3 * torch.cosine_similarity(x[:, None], classifier.weight[None], dim=2)
    for one, other in zip(*(torch.autograd.grad(y.square().sum(), (x, classifier.weight)) for y in (found, expected))):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_embedding_of_zeros_has_no_direction():
    classifier, x = CosineClassifier(6, 4), torch.zeros(1, 6, 2, 2)
    assert torch.equal(classifier(x), torch.zeros(1, 4, 2, 2))
    classifier(x).sum().backward()
    assert torch.equal(classifier.weight.grad, torch.zeros(4, 6, 1, 1))


def test_parameters():
    """No bias; small normal rows, of which only the direction counts."""
    torch.manual_seed(0)
    classifier = CosineClassifier(256, 100)
    assert [name for name, _ in classifier.named_parameters()] == ['weight'] and classifier.scale == 12.
    assert classifier.weight.std().item() == pytest.approx(.01, rel=.05) and abs(classifier.weight.mean().item()) < 1e-3


def test_it_stands_in_a_decode_head_and_trains():
    model = made(4, scale=7.)
    head = model.decode_head
    assert isinstance(head.conv_seg, CosineClassifier) and head.conv_seg.scale == 7.
    assert 'decode_head.conv_seg.bias' not in model.state_dict()
    initialise(model)
    assert head.conv_seg.weight.abs().max() > 0
    total(model.loss(images(), samples(labels([0, 1, 2, 3, 255])))).backward()
    assert head.conv_seg.weight.grad.abs().max() > 0
    with torch.no_grad():
        assert model.encode_decode(images(), METAS).abs().max() <= 7.0001


@pytest.mark.parametrize('new_rows', ['random', 'background'])
def test_growth(new_rows):
    """Old rows first; without a bias to spread its probability, a copy of background."""
    old, model = made(3), made(5, seed=1)
    before = model.decode_head.conv_seg.weight.detach().clone()
    grow(model, old.state_dict(), 3, new_rows)
    rows, expected = model.decode_head.conv_seg.weight, old.decode_head.conv_seg.weight
    assert torch.equal(rows[:3], expected)
    copied = expected[:1].expand(2, -1, -1, -1)
    assert torch.equal(rows[3:], before[3:] if new_rows == 'random' else copied)
    assert not torch.equal(before[3:], copied)


def test_mixed_precision():
    classifier, x = CosineClassifier(6, 4), torch.randn(1, 6, 2, 2)
    with torch.autocast('cpu', torch.bfloat16):
        found = classifier(x)
    torch.testing.assert_close(found.float(), classifier(x), atol=.15, rtol=0)


def test_predictions_are_the_greatest_cosines():
    model = made(4).eval()
    initialise(model)
    with torch.no_grad():
        found = model.predict(images())
        logits = model.encode_decode(images(), METAS)
    for sample, one in zip(found, logits):
        assert torch.equal(sample.pred_sem_seg.data[0], one.argmax(dim=0))
