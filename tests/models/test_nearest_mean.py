import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmcss.engine.model_config import extended_model
from mmcss.models import grow
from mmcss.models.nearest_mean import NearestMean
from tests.models.makers import encoder_decoder, images, initialise, labels, samples, total, with_classes

METAS = [dict(img_shape=(32, 32), ori_shape=(32, 32))] * 2


def made(classes, seed=0):
    config = with_classes(dict(encoder_decoder(), test_cfg=dict(mode='whole')), classes)
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(extended_model(config, None, dict(type='NearestMean'), (classes - 1, ))))
    initialise(model)
    return model.eval()


def give_means(classifier, seed=0, without=()):
    means = F.normalize(torch.randn(classifier.means.shape, generator=torch.Generator().manual_seed(seed)), dim=1)
    means[list(without)] = 0
    classifier.means.copy_(means)


def test_in_training_it_is_a_convolution():
    torch.manual_seed(0)
    classifier, x = NearestMean(6, 4), torch.randn(2, 6, 3, 3)
    give_means(classifier)
    torch.testing.assert_close(classifier(x), F.conv2d(x, classifier.weight, classifier.bias))
    assert [name for name, _ in classifier.named_parameters()] == ['weight', 'bias'] and not classifier.predicting


def test_in_prediction_the_nearest_mean_wins():
    """By distance between vectors of length 1, as iCaRL's equation has it."""
    classifier, x = NearestMean(6, 4), 5 * torch.randn(2, 6, 3, 3)
    give_means(classifier)
    classifier.predicting = True
    found = classifier(x)
    unit = x / x.square().sum(dim=1, keepdim=True).sqrt()
    distance = (unit[:, None] - classifier.means[None]).square().sum(dim=2).sqrt()
    assert torch.equal(found.argmax(dim=1), distance.argmin(dim=1)) and len(found.argmax(dim=1).unique()) > 1
    torch.testing.assert_close(found, 1 - distance.square() / 2)
    torch.testing.assert_close(classifier(1e-3 * x), found)


def test_by_hand():
    classifier = NearestMean(2, 3)
    classifier.means.copy_(torch.tensor([[1., 0], [0, 0], [0, 1]])[:, :, None, None])
    classifier.predicting = True
    torch.testing.assert_close(classifier(torch.tensor([3., 4]).view(1, 2, 1, 1)).flatten(), torch.tensor([.6, -2, .8]))


@pytest.mark.parametrize('without', [(1, ), (0, 2)])
def test_a_class_without_a_mean_is_never_predicted(without):
    """Not even where all means point the other way."""
    classifier = NearestMean(6, 4)
    give_means(classifier, without=without)
    classifier.predicting = True
    x = -sum(classifier.means) + .1 * torch.randn(8, 6, 8, 8)
    found = classifier(x)
    assert found.isfinite().all() and (found[:, list(without)] == -2).all()
    assert not set(found.argmax(dim=1).flatten().tolist()) & set(without)
    upsampled = F.interpolate(found, (19, 21), mode='bilinear').argmax(dim=1)
    assert not set(upsampled.flatten().tolist()) & set(without)


def test_mixed_precision():
    classifier, x = NearestMean(6, 4), torch.randn(1, 6, 2, 2)
    give_means(classifier, without=(2, ))
    classifier.predicting = True
    with torch.autocast('cpu', torch.bfloat16):
        found = classifier(x.bfloat16())
    torch.testing.assert_close(found.float(), classifier(x), atol=.02, rtol=0)


def test_only_predictions_are_by_means():
    model = made(4)
    head = model.decode_head
    give_means(head.conv_seg, without=(3, ))
    with torch.no_grad():
        plain, predictions = model.encode_decode(images(), METAS), model.predict(images())
    assert not head.conv_seg.predicting
    with torch.no_grad():
        assert torch.equal(model.encode_decode(images(), METAS), plain)
        head.conv_seg.predicting = True
        cosines = model.encode_decode(images(), METAS)
        head.conv_seg.predicting = False
        whole, exported = model.inference(images(), METAS), model(images(), mode='tensor')
        traced = torch.jit.trace(model, images())(images())
    assert not head.conv_seg.predicting and torch.equal(whole, cosines) and torch.equal(traced, exported)
    torch.testing.assert_close(F.interpolate(exported, (32, 32), mode='bilinear'), cosines)
    assert not torch.allclose(cosines, plain, atol=.1)
    for sample, one in zip(predictions, cosines):
        assert torch.equal(sample.pred_sem_seg.data[0], one.argmax(dim=0)) and (one[3] == -2).all()
    # Means get no gradient, and the loss does not know them.
    losses = [total(model.loss(images(), samples(labels([0, 1, 2, 3, 255])))) for _ in range(2)
              if give_means(head.conv_seg, seed=1) is None]
    assert torch.equal(*losses)


def test_after_a_prediction_that_fails_training_goes_on():
    model = made(4)
    with pytest.raises(RuntimeError):
        model.predict(torch.zeros(2, 5, 32, 32))  # five channels
    assert not model.decode_head.conv_seg.predicting


@pytest.mark.parametrize('new_rows', ['random', 'background'])
def test_growth(new_rows):
    """Old rows of weight, bias and means come first; new classes have no mean before the step has been learned."""
    old, model = made(3), made(5, seed=1)
    give_means(old.decode_head.conv_seg)
    grow(model, old.state_dict(), 3, new_rows)
    rows, before = model.decode_head.conv_seg, old.decode_head.conv_seg
    assert torch.equal(rows.weight[:3], before.weight) and torch.equal(rows.means[:3], before.means)
    assert not rows.means.requires_grad and rows.means.shape == (5, 8, 1, 1)
    if new_rows == 'random':
        assert torch.equal(rows.means[3:], torch.zeros(2, 8, 1, 1)) and torch.equal(rows.bias[:3], before.bias)


def test_checkpoints_hold_the_means():
    model, other = made(4), made(4, seed=1)
    give_means(model.decode_head.conv_seg)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.decode_head.conv_seg.means, model.decode_head.conv_seg.means)
    assert 'decode_head.conv_seg.means' in model.state_dict()
