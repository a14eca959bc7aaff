"""What is watched of the stock losses: logits, and weights of pixels."""
import pytest
import torch
import torch.nn.functional as F

from mmcss.models import watch_training
from mmcss.models.heads import decode_heads
from mmcss.parts import Needs
from tests.models.makers import MODEL_CONFIGS, build, cascade, head, total, with_classes
from tests.models.test_taps import CLASSES, batch, make


def spy_on(head):
    """Lists what reaches a head's ``loss_by_feat``."""
    original, reached = head.loss_by_feat, []

    def loss_by_feat(output, *args, **kwargs):
        reached.append(output)
        return original(output, *args, **kwargs)

    head.__dict__['loss_by_feat'] = loss_by_feat
    return reached


@pytest.mark.parametrize('name', ['FCN', 'ASPP', 'OCR', 'Segformer'])
def test_upsampled_logits_are_shared_with_the_stock_loss(name):
    model = make(name)
    reached = spy_on(decode_heads(model)[-1])
    with watch_training(model, Needs(logits=True), (32, 32), None) as seen:
        model.loss(*batch())
    prediction = seen.prediction((32, 32), False)
    assert reached[0] is prediction.logits is seen.upsampled
    assert prediction.logits.shape == (2, CLASSES, 32, 32)
    assert seen.head_logits.shape[2:] == ((8, 8) if name == 'Segformer' else (4, 4))
    expected = F.interpolate(seen.head_logits, (32, 32), mode='bilinear')
    assert torch.equal(prediction.logits, expected)


def test_logits_that_no_part_asks_for_are_not_upsampled_twice():
    model = make()
    reached = spy_on(model.decode_head)
    with watch_training(model, Needs(embedding=True), (32, 32), None) as seen:
        model.loss(*batch())
    assert reached[0] is seen.head_logits and seen.upsampled is None


@pytest.mark.parametrize('name', ['DA', 'Enc'])
def test_heads_with_a_loss_of_their_own_get_their_own_outputs(name):
    model = make(name)
    reached = spy_on(model.decode_head)
    with watch_training(model, Needs(logits=True), (32, 32), None) as seen:
        model.loss(*batch())
    assert isinstance(reached[0], tuple) and reached[0][0] is seen.head_logits
    assert seen.prediction((32, 32), False).logits.shape == (2, CLASSES, 32, 32)


def test_logits_of_a_cascade_are_those_of_its_last_head():
    model = build(with_classes(cascade(), CLASSES))
    first, last = (spy_on(one) for one in model.decode_head)
    with watch_training(model, Needs(), (32, 32), None) as seen:
        model.loss(*batch())
    assert seen.head_logits is last[0] and first[0] is not last[0]


@pytest.mark.parametrize('name', ['FCN', 'DA', 'OCR'])
@pytest.mark.parametrize('sampler', [None, dict(type='OHEMPixelSampler', thresh=.5, min_kept=20)])
def test_weights_reach_each_loss_of_the_decode_heads(name, sampler):
    """A weight of 2 doubles them all; auxiliary heads are left alone."""
    config = with_classes(MODEL_CONFIGS[name], CLASSES)
    for one in config['decode_head'] if isinstance(config['decode_head'], list) else [config['decode_head']]:
        one['sampler'] = sampler
    config['auxiliary_head'] = dict(head('FCN'), in_channels=32, in_index=2, num_classes=CLASSES,
                                    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
    model = build(config).eval()
    plain = model.loss(*batch())
    with watch_training(model, Needs(), (32, 32), torch.full((2, 1, 1), 2.)):
        doubled = model.loss(*batch())
    of_decode_heads = [key for key in plain if key.startswith('decode') and 'loss' in key]
    assert len(of_decode_heads) == dict(FCN=1, DA=3, OCR=2)[name]
    for key in of_decode_heads:
        torch.testing.assert_close(doubled[key], 2 * plain[key])
    assert torch.equal(doubled['aux.loss_ce'], plain['aux.loss_ce'])
    assert total(doubled) > total(plain)
