import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn

from mmcss.engine.model_config import extended_model
from mmcss.models import ExtendedCascadeEncoderDecoder, ExtendedEncoderDecoder, StepHeads, merge_unknown
from mmcss.models.heads import decode_heads
from mmcss.models.teacher import predict
from mmcss.parts import Needs
from tests.models.makers import (MODEL_CONFIGS, build, encoder_decoder, images, initialise, labels, samples,
                                 with_classes)

CLASSES = 4  # background and three others; unknown is number 4
WHOLE = dict(mode='whole')


def extended(config, unknown=True, classifier=None, unknown_scores='sigmoid'):
    """Config of a model of four classes, and of unknown if that is asked for."""
    config = dict(dict(test_cfg=WHOLE), **config)
    return ConfigDict(extended_model(with_classes(config, CLASSES + unknown), unknown_scores if unknown else None, classifier, (2, 1)))


def build_with_steps(name):
    """A model with StepHeads, initialised as training would."""
    torch.manual_seed(0)
    model = MODELS.build(extended(MODEL_CONFIGS[name], classifier=dict(type='StepHeads')))
    initialise(model)
    return model.eval()


class Plain(nn.Conv2d):
    """A classifier with an option of its own."""

    def __init__(self, in_channels, num_classes, bias=True):
        super().__init__(in_channels, num_classes, 1, bias=bias)


def merged_by_hand(logits):
    """Sigmoids in float64, the background's and the unknown's added; the unknown is left out."""
    scores = 1 / (1 + torch.exp(-logits.double()))
    result = scores[:, :-1].clone()
    result[:, 0] += scores[:, -1]
    return result


def restless(model, seed=3):
    """A model in evaluation mode whose winning class changes from cell to cell; unknown is one of them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        decode_heads(model)[-1].conv_seg.weight.normal_(0, 1, generator=generator)
    return model.eval()


def logits_of(model, inputs):
    shape = tuple(inputs.shape[2:])
    metas = [dict(img_shape=shape, ori_shape=shape, pad_shape=shape)] * len(inputs)
    with torch.no_grad():
        return model.inference(inputs, metas)


def predicted(model, inputs, **metainfo):
    data = samples(torch.zeros(len(inputs), *inputs.shape[2:], dtype=torch.long))
    for sample in data:
        sample.set_metainfo(metainfo)
    with torch.no_grad():
        return model.predict(inputs, data)


def test_merged_scores_are_logarithms_of_sigmoids():
    logits = 5 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    found = merge_unknown(logits)
    assert found.shape == (2, 4, 6, 7)
    torch.testing.assert_close(found.double(), merged_by_hand(logits).log(), rtol=1e-5, atol=1e-6)


def test_merged_scores_of_a_pixel():
    """Logarithms of 3/4 + 1/2, 1/4 and 1/2."""
    odds = torch.tensor([3., 1 / 3, 1., 1.]).log().view(1, 4, 1, 1)
    expected = torch.tensor([1.25, .25, .5]).log().view(1, 3, 1, 1)
    torch.testing.assert_close(merge_unknown(odds), expected)


def test_merged_scores_of_large_logits_stay_finite():
    signs = torch.tensor([[a, b, c] for a in (-200., 200) for b in (-200., 200) for c in (-200., 200)])
    logits = signs[:, :, None, None].requires_grad_()
    found = merge_unknown(logits)
    assert found.isfinite().all()
    background, other = found.detach()[:, :, 0, 0].unbind(1)
    two = torch.tensor(2.).log()
    expected = {(-200, -200): -200 + two, (-200, 200): 0, (200, -200): 0, (200, 200): two}
    for (a, b, c), first, second in zip(signs.tolist(), background, other):
        assert first.item() == pytest.approx(float(expected[a, c]))
        assert second.item() == pytest.approx(min(b, 0))
    found.sum().backward()
    assert logits.grad.isfinite().all()


def test_merged_probabilities():
    """The softmax of what comes out is the one that went in, the unknown's share added to the background's."""
    logits = 5 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    probabilities = logits.double().softmax(dim=1)
    expected = probabilities[:, :-1].clone()
    expected[:, 0] += probabilities[:, -1]
    found = merge_unknown(logits, 'softmax')
    torch.testing.assert_close(found.double().softmax(dim=1), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(found[:, 1:], logits[:, 1:-1])
    large = merge_unknown(torch.tensor([200., 0, -200]).view(1, 3, 1, 1), 'softmax')
    assert large.flatten().tolist() == [200, 0]


@pytest.mark.parametrize('logits, winners', [((3., 3.5, 2.9), (0, 0)), ((0., 1., -.5), (0, 1)), ((0., 4., -3), (1, 1))])
def test_probabilities_and_sigmoids_may_decide_otherwise(logits, winners):
    """Of 0, 1 and -0.5 the sigmoids are 0.50 + 0.38 against 0.73, the probabilities 0.23 + 0.14 against 0.63."""
    logits = torch.tensor(logits).view(1, 3, 1, 1)
    found = tuple(merge_unknown(logits, scores).argmax(dim=1).item() for scores in ('sigmoid', 'softmax'))
    assert found == winners


def test_predictions_of_a_softmax():
    model, other = (restless(build(extended(encoder_decoder(), unknown_scores=scores)))
                    for scores in ('softmax', 'sigmoid'))
    logits = logits_of(model, images())
    probabilities = logits.double().softmax(dim=1)
    probabilities[:, 0] += probabilities[:, -1]
    expected = probabilities[:, :-1].argmax(dim=1)
    found, by_sigmoids = (torch.stack([sample.pred_sem_seg.data[0] for sample in predicted(one, images())])
                          for one in (model, other))
    assert torch.equal(found, expected) and not torch.equal(found, by_sigmoids)
    assert torch.equal(logits, logits_of(other, images()))


def test_predictions_without_the_unknown():
    """As if its channel were not there."""
    model = restless(build(extended(encoder_decoder(), unknown_scores='none')))
    logits = logits_of(model, images())
    assert logits.shape[1] == CLASSES + 1 and (logits.argmax(dim=1) == CLASSES).any()
    for sample, one in zip(predicted(model, images()), logits):
        assert torch.equal(sample.pred_sem_seg.data[0], one[:-1].argmax(dim=0))
        assert torch.equal(sample.seg_logits.data, one[:-1])


def test_unknown_scores_that_are_not_there():
    with pytest.raises(ValueError, match="unknown_scores: got 'softmx', valid are sigmoid, softmax, none"):
        MODELS.build(extended(encoder_decoder(), unknown_scores='softmx'))


@pytest.mark.parametrize('name', ['FCN', 'ASPP', 'OCR'])
def test_predictions_are_the_best_merged_scores(name):
    model = restless(build(extended(MODEL_CONFIGS[name])))
    logits = logits_of(model, images())
    winners = logits.argmax(dim=1)
    assert logits.shape[1] == CLASSES + 1 and (winners == CLASSES).any()
    expected = merged_by_hand(logits).argmax(dim=1)
    assert not torch.equal(expected, winners.where(winners < CLASSES, 0))  # the sum makes a difference
    for sample, one in zip(predicted(model, images()), expected):
        assert torch.equal(sample.pred_sem_seg.data[0], one)
        assert sample.seg_logits.data.shape == (CLASSES, 32, 32)


def as_tensor(model, inputs):
    with torch.no_grad():
        return model(inputs, mode='tensor')


@pytest.mark.parametrize('name, scores', [('FCN', 'sigmoid'), ('FCN', 'softmax'), ('OCR', 'sigmoid'), ('Enc', 'softmax'), ('FCN', 'none')])
def test_exporters_see_what_is_predicted(name, scores):
    """A map of each class alone, whose best class is the predicted one; traced, also at another size."""
    model = restless(build(extended(MODEL_CONFIGS[name], unknown_scores=scores)))
    with torch.no_grad():
        traced = torch.jit.trace(model, images(), check_trace=False)
    for inputs in (images(), images(1, size=(40, 56))):
        found = as_tensor(model, inputs)
        labels = torch.stack([sample.pred_sem_seg.data[0] for sample in model.predict(inputs)])
        assert found.shape == (len(inputs), CLASSES, *inputs.shape[2:]) and len(labels.unique()) > 1
        assert torch.equal(found.argmax(dim=1), labels) and torch.equal(traced(inputs), found)


def test_exporters_see_merged_scores_of_a_classifier():
    model = build_with_steps('OCR')
    torch.testing.assert_close(as_tensor(model, images()), merge_unknown(logits_of(model, images())))


def test_training_and_the_teacher_see_the_unknown():
    model = restless(build(extended(encoder_decoder())))
    raw = logits_of(model, images())
    as_tensor(model, images())
    seen = predict(model, images(), (32, 32), Needs())
    assert seen.head_logits.shape[1] == raw.shape[1] == CLASSES + 1
    torch.testing.assert_close(seen.logits, raw)


def test_predictions_without_data_samples():
    model = restless(build(extended(encoder_decoder())))
    with torch.no_grad():
        found = torch.stack([sample.pred_sem_seg.data[0] for sample in model.predict(images())])
    assert torch.equal(found, merged_by_hand(logits_of(model, images())).argmax(dim=1))


def test_unknown_is_never_predicted():
    """Where it is certain of it everywhere, all is background."""
    model = build(extended(encoder_decoder())).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.zero_()
        model.decode_head.conv_seg.bias.copy_(torch.tensor([-5., -1, 0, -2, 9]))
    assert (logits_of(model, images()).argmax(dim=1) == CLASSES).all()
    assert all((sample.pred_sem_seg.data == 0).all() for sample in predicted(model, images()))


def test_predictions_are_cut_flipped_and_resized_as_the_stock_model_s():
    """What stock does after the network it does to the merged scores."""
    model = restless(build(extended(encoder_decoder())))
    merged = merge_unknown(logits_of(model, images()))
    found = predicted(model, images(), padding_size=[0, 8, 0, 16], flip=True, flip_direction='horizontal',
                      ori_shape=(32, 48))
    for sample, one in zip(found, merged):
        expected = nn.functional.interpolate(one[None, :, :16, :24].flip(3), (32, 48), mode='bilinear')[0]
        torch.testing.assert_close(sample.seg_logits.data, expected)
        assert torch.equal(sample.pred_sem_seg.data, sample.seg_logits.data.argmax(dim=0, keepdim=True))


def test_slide_inference():
    config = dict(encoder_decoder(), test_cfg=dict(mode='slide', crop_size=(16, 16), stride=(8, 8)))
    model = restless(build(extended(config)))
    logits = logits_of(model, images())
    whole = restless(build(extended(encoder_decoder())))
    assert logits.shape == (2, CLASSES + 1, 32, 32) and not torch.allclose(logits, logits_of(whole, images()), atol=.1)
    for sample, one in zip(predicted(model, images()), merged_by_hand(logits).argmax(dim=1)):
        assert torch.equal(sample.pred_sem_seg.data[0], one)


@pytest.mark.parametrize('name', ['ASPP', 'OCR'])
def test_with_neither_option_it_is_the_stock_model(name):
    """State dict, losses with dropout and batch statistics, and predictions, bit by bit."""
    config = with_classes(dict(MODEL_CONFIGS[name], test_cfg=WHOLE), CLASSES)
    assert extended_model(config, None, None, (2, 1)) is config
    stock, own = (build(ConfigDict(config, type=kind + config['type'])) for kind in ('', 'Extended'))
    assert isinstance(own, (ExtendedEncoderDecoder, ExtendedCascadeEncoderDecoder)) and own.reserved_rows == 0
    assert list(own.state_dict()) == list(stock.state_dict())
    assert all(torch.equal(value, stock.state_dict()[key]) for key, value in own.state_dict().items())
    losses = []
    for model in (stock, own):
        torch.manual_seed(4)
        losses.append(model.loss(images(), samples(labels([0, 1, 3, 255]))))
    assert list(losses[0]) == list(losses[1])
    assert all(torch.equal(losses[0][key], losses[1][key]) for key in losses[0])
    assert torch.equal(as_tensor(stock.eval(), images()), as_tensor(own.eval(), images()))
    for one, other in zip(predicted(stock, images()), predicted(own, images())):
        assert torch.equal(one.seg_logits.data, other.seg_logits.data)
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)


@pytest.mark.parametrize('name', list(MODEL_CONFIGS))
def test_an_unknown_class_changes_no_names(name):
    """A stock model of one class more reads its checkpoints."""
    model = build(extended(MODEL_CONFIGS[name]))
    stock = MODELS.build(with_classes(MODEL_CONFIGS[name], CLASSES + 1))
    assert model.reserved_rows == 1
    stock.load_state_dict(model.state_dict(), strict=True)


def test_a_classifier_takes_the_place_of_the_convolution():
    model = build_with_steps('ASPP')
    head = model.decode_head
    assert isinstance(head.conv_seg, StepHeads) and isinstance(model.auxiliary_head.conv_seg, nn.Conv2d)
    assert (head.conv_seg.in_channels, model.auxiliary_head.conv_seg.out_channels) == (8, CLASSES + 1)
    stock = set(MODELS.build(with_classes(MODEL_CONFIGS['ASPP'], CLASSES + 1)).state_dict())
    assert stock - set(model.state_dict()) == {'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'}
    assert all(name.startswith('decode_head.conv_seg.') for name in set(model.state_dict()) - stock)
    embedding = torch.randn(2, 8, 4, 4)
    assert torch.equal(head.cls_seg(embedding), head.conv_seg(embedding))


@pytest.mark.parametrize('name', ['FCN', 'OCR'])
def test_predictions_of_a_classifier_are_the_best_merged_scores(name):
    """Of a cascade it is the last head's."""
    model = build_with_steps(name)
    kinds = [type(head.conv_seg) for head in decode_heads(model)]
    assert kinds == [nn.Conv2d] * (len(kinds) - 1) + [StepHeads]
    logits = logits_of(model, images())
    assert logits.shape[1] == CLASSES + 1
    for sample, one in zip(predicted(model, images()), merged_by_hand(logits).argmax(dim=1)):
        assert torch.equal(sample.pred_sem_seg.data[0], one)


def test_a_classifier_that_does_not_grow_by_steps():
    """Any module of the registry that takes in_channels and num_classes will do."""
    config = extended(encoder_decoder(), unknown=False)
    model = MODELS.build(dict(config, type='ExtendedEncoderDecoder', classifier=dict(type=Plain, bias=False)))
    assert model.reserved_rows == 0
    assert (model.decode_head.conv_seg.weight.shape, model.decode_head.conv_seg.bias) == ((CLASSES, 8, 1, 1), None)


def test_the_config_of_a_classifier_stays_as_it_is():
    config = extended(encoder_decoder(), classifier=dict(type='StepHeads'))
    MODELS.build(config)
    assert config['classifier'] == dict(type='StepHeads', steps=[2, 1])
