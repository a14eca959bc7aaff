"""How weights of pixels reach the losses of heads: those that ask a sampler, and those that don't."""
from contextlib import ExitStack

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import CrossEntropyLoss, OhemCrossEntropy
from mmseg.registry import MODELS

from mmcss.models import watch_training
from mmcss.models.weighting import WeightedLoss, scale_gradient, weigh_losses
from mmcss.parts import Needs
from tests.losses import loops
from tests.models.makers import BN, build, encoder_decoder, images, labels, samples, with_classes
from tests.models.test_heads import KNET, named
from tests.models.test_taps import CLASSES, batch, make

LOGITS = 2 * torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1))
TARGET = labels([0, 1, 3, 255], size=(5, 6))
WEIGHTS = [torch.tensor([.25, 2.]).view(2, 1, 1), torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(2))]

DDR = dict(type='EncoderDecoder', backbone=dict(type='DDRNet', channels=8, ppm_channels=8),
           decode_head=dict(type='DDRHead', in_channels=32, channels=8, dropout_ratio=0.,
                            loss_decode=[dict(type='OhemCrossEntropy', thres=.9, min_kept=50),
                                         dict(type='CrossEntropyLoss', loss_weight=.4, avg_non_ignore=True)]))
PID = dict(type='EncoderDecoder',
           backbone=dict(type='PIDNet', channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1),
           decode_head=dict(type='PIDHead', in_channels=32, channels=8, norm_cfg=BN, dropout_ratio=0.,
                            loss_decode=[dict(type='CrossEntropyLoss', avg_non_ignore=True),
                                         dict(type='OhemCrossEntropy', thres=.9, min_kept=50),
                                         dict(type='BoundaryLoss'), dict(type='OhemCrossEntropy', thres=.9, min_kept=50)]))


def small_batch(size=(64, 64)):
    found = samples(labels([0, 1, 4], size=size))
    for sample in found:
        sample.gt_edge_map = PixelData(data=(sample.gt_sem_seg.data == 1).long())
    return images(size=size), found


def fcn(**changes):
    config = encoder_decoder('FCN')
    config['decode_head'].update(changes)
    return build(with_classes(config, 4)).decode_head


@pytest.mark.parametrize('weight', WEIGHTS)
def test_cross_entropy_of_weighed_pixels(weight):
    loss = WeightedLoss(CrossEntropyLoss(avg_non_ignore=True), weight, 4)(LOGITS, TARGET, ignore_index=255)
    per_pixel = loops.cross_entropy(LOGITS, TARGET)
    expected = (per_pixel * weight.numpy()).sum() / (TARGET != 255).sum().item()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('weight', WEIGHTS)
@pytest.mark.parametrize('settings', [dict(thresh=.3, min_kept=4), dict(min_kept=4)])
def test_weights_times_those_of_a_pixel_sampler(weight, settings):
    """The sampler keeps the pixels that are hard without them."""
    head = fcn(sampler=dict(type='OHEMPixelSampler', **settings))
    kept = head.sampler.sample(LOGITS, TARGET[:, None])
    assert 0 < kept.sum() < (TARGET != 255).sum()
    with ExitStack() as stack:
        taken = weigh_losses(head, weight, stack)
        assert not taken()
        found = head.loss_by_feat(LOGITS, samples(TARGET))['loss_ce']
        assert taken()
    assert torch.equal(found, head.loss_decode(LOGITS, TARGET, weight=weight * kept, ignore_index=255))


@pytest.mark.parametrize('weight', WEIGHTS)
def test_a_loss_that_takes_weights_is_given_them(weight):
    inner = CrossEntropyLoss(avg_non_ignore=True)
    expected = inner(LOGITS, TARGET, weight=weight.expand(2, 5, 6), ignore_index=255)
    assert torch.equal(WeightedLoss(inner, weight, 4)(LOGITS, TARGET, ignore_index=255), expected)
    assert WeightedLoss(inner, weight, 4).loss_name == 'loss_ce'


@pytest.mark.parametrize('weight', WEIGHTS)
def test_another_loss_has_the_gradient_of_weighted_pixels(weight):
    """OHEM keeps the same pixels; what each of them gives is weighed."""
    inner = OhemCrossEntropy(thres=.5, min_kept=8)
    logits = LOGITS.clone().requires_grad_()
    loss = WeightedLoss(inner, weight, 4)(logits, TARGET)
    loss.backward()
    assert loss.item() == inner(LOGITS, TARGET).item()
    by_hand = LOGITS.clone().requires_grad_()
    chance = by_hand.detach().softmax(1).gather(1, TARGET.where(TARGET != 255, 0)[:, None])[:, 0]
    valid = TARGET != 255
    kept = valid & (chance < max(chance[valid].sort().values[8], .5))
    per_pixel = F.cross_entropy(by_hand, TARGET, ignore_index=255, reduction='none')
    ((per_pixel * weight)[kept].sum() / kept.sum()).backward()
    assert 0 < kept.sum() < valid.sum()
    torch.testing.assert_close(logits.grad, by_hand.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('loss', [dict(type='DiceLoss'), dict(type='DiceLoss', use_sigmoid=True),
                                  dict(type='LovaszLoss', reduction='none'), dict(type='TverskyLoss')],
                         ids=lambda loss: '-'.join(map(str, loss.values())))
def test_losses_that_are_no_sums_of_pixels_beside_cross_entropy(loss):
    """Dice would take a weight for each image, the others none at all."""
    both = [dict(type='CrossEntropyLoss', avg_non_ignore=True), dict(loss, loss_name='loss_other')]
    head, gradients = fcn(loss_decode=both), []
    for weight in (None, WEIGHTS[0], WEIGHTS[1]):
        logits = LOGITS.clone().requires_grad_()
        with ExitStack() as stack:
            if weight is not None:
                weigh_losses(head, weight, stack)
            losses = head.loss_by_feat(logits, samples(TARGET.where(TARGET != 255, 0)))
        gradients.append(torch.autograd.grad(losses['loss_other'].sum(), logits, retain_graph=True)[0])
    assert gradients[0].any() and set(losses) == {'loss_ce', 'loss_other', 'acc_seg'}
    for weight, found in zip(WEIGHTS, gradients[1:]):
        torch.testing.assert_close(found, gradients[0] * weight[:, None])


def test_losses_at_points():
    logits, target = LOGITS.flatten(2), TARGET.flatten(1)
    inner = CrossEntropyLoss(avg_non_ignore=True)
    found = WeightedLoss(inner, WEIGHTS[0], 4)(logits, target, ignore_index=255)
    expected = inner(logits, target, weight=WEIGHTS[0].flatten(1).expand(2, 30), ignore_index=255)
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match='takes its loss at points'):
        WeightedLoss(inner, WEIGHTS[1], 4)(logits, target)


def test_what_is_no_class_is_left_alone():
    class Boundary(nn.Module):
        """Takes no weights."""

        def forward(self, pred, label):
            return pred.sum()

    pred = torch.ones(2, 1, 5, 6, requires_grad=True)
    WeightedLoss(Boundary(), WEIGHTS[0], 4)(pred, TARGET).backward()
    assert torch.equal(pred.grad, torch.ones_like(pred))


def test_scaled_gradients_leave_other_uses_alone():
    x = torch.ones(2, 3, requires_grad=True)
    y = 2 * x
    (scale_gradient(y, torch.tensor([[3.], [5.]])).sum() + y.sum()).backward()
    assert x.grad.tolist() == [[8.] * 3, [12.] * 3]
    assert scale_gradient(torch.ones(2), torch.ones(2)) is not None  # without a graph


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_scaled_gradients_in_half_precision(dtype):
    x = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    scale_gradient(x, torch.tensor([[.5], [5.]])).sum().backward()
    assert x.grad.dtype == dtype and x.grad.tolist() == [[.5] * 3, [5.] * 3]


@pytest.mark.parametrize('config', [DDR, PID], ids=['DDRNet', 'PIDNet'])
def test_heads_that_ask_no_sampler(config):
    """Without weight an image gives no gradient but that of the boundary; a weight of 1 changes nothing."""
    model = build(with_classes(config, CLASSES)).train()
    assert model.decode_head.num_classes == CLASSES

    def gradient(weight):
        model.zero_grad()
        data = small_batch()
        with watch_training(model, Needs(), (64, 64), weight):
            losses = model.loss(*data)
        sum(value for name, value in losses.items() if 'loss' in name and 'bd' not in name.split('_')).backward()
        return model.decode_head.conv_seg.weight.grad.clone(), losses

    plain, _ = gradient(None)
    ones, _ = gradient(torch.ones(2, 1, 1))
    torch.testing.assert_close(ones, plain)
    none, _ = gradient(torch.zeros(2, 1, 1))
    assert not none.any() and plain.any()
    double, _ = gradient(torch.full((2, 1, 1), 2.))
    torch.testing.assert_close(double, 2 * plain)
    assert type(model.decode_head.loss_decode) is nn.ModuleList
    assert 'WeightedLoss' not in repr(model)


def test_the_sampler_of_k_net_is_its_inner_head_s():
    model = build(with_classes(KNET, CLASSES)).train()
    plain = model.decode_head.loss(model.extract_feat(batch()[0]), batch()[1], None)
    with watch_training(model, Needs(), (32, 32), torch.full((2, 1, 1), 2.)):
        doubled = model.loss(*batch())
    losses = [name for name in plain if 'loss' in name]
    assert len(losses) == 2  # the kernels' own map, and after the update
    for name in losses:
        torch.testing.assert_close(doubled[f'decode.{name}'], 2 * plain[name])


@pytest.mark.parametrize('stacked', [True, False])
def test_queries_of_mask_heads_are_weighed_by_image(stacked):
    head = named('MaskFormerHead')
    head.__dict__['loss_by_feat'] = lambda classes, masks, *rest: dict(loss=sum(classes).sum() + sum(masks).sum())
    classes, masks = torch.ones(3, 2, 4, 5, requires_grad=True), torch.ones(3, 2, 4, 6, 6, requires_grad=True)
    layers = (classes, masks) if stacked else (list(classes), list(masks))
    with ExitStack() as stack:
        taken = weigh_losses(head, WEIGHTS[0], stack)
        head.loss_by_feat(*layers)['loss'].backward()
        assert taken()
        with pytest.raises(ValueError, match='MaskFormerHead classifies masks'):
            weigh_losses(head, WEIGHTS[1], stack)
    for tensor in (classes, masks):
        assert (tensor.grad[:, 0] == .25).all() and (tensor.grad[:, 1] == 2).all()


def test_weights_that_do_not_reach_the_loss_are_an_error():
    @MODELS.register_module(force=True)
    class OwnLossHead(FCNHead):
        """Computes its loss by itself."""

        def loss_by_feat(self, logits, data_samples):
            return dict(loss_own=logits.mean())

    model = make('FCN')
    model.decode_head.__class__ = OwnLossHead
    with pytest.raises(ValueError, match='OwnLossHead bypasses its loss_decode'), \
            watch_training(model, Needs(), (32, 32), torch.ones(2, 1, 1)):
        model.loss(*batch())
