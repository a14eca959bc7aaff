"""The model's config at one step, and that the models it describes can be built."""
import copy

import pytest
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmcss.engine.class_settings import StepClasses
from mmcss.engine.model_config import (extended_model, replace_cross_entropy, stock_model, teacher_model,
                                       walk, without_pretrained)
from mmcss.models import ContinualCascadeEncoderDecoder, ContinualEncoderDecoder
from tests.models.makers import student_model, cascade, encoder_decoder, head, make_split

CE = dict(type='CrossEntropyLoss', loss_weight=1.)
UNCE = dict(type='UnbiasedCrossEntropyLoss')
ORDER = (0, 3, 1, 4, 2)  # of five classes, as positions in the data set's list


def numbers(model):
    """All stated numbers of classes, outer heads first."""
    return [node['num_classes'] for node in walk(model) if 'num_classes' in node]


def losses(model):
    return [node for node in walk(model) if node.get('type', '').endswith(('Loss', 'CrossEntropy'))]


def stock(model, seen, unknown=False, order=ORDER):
    return stock_model(model, StepClasses(order, seen, len(order), unknown), 'valid')


def model_of(loss_decode=CE, **changes):
    return dict(type='EncoderDecoder', decode_head=dict(type='FCNHead', num_classes=19, loss_decode=loss_decode, **changes))


def test_numbers_are_filled_in_where_the_user_gives_none():
    config = encoder_decoder('FCN', auxiliary=True)
    config['auxiliary_head'] = [config['auxiliary_head'], dict(config['auxiliary_head'])]
    assert numbers(config) == []
    assert numbers(stock(config, 3)) == [3, 3, 3]
    assert numbers(stock(cascade(), 4)) == [4, 4]
    assert MODELS.build(stock(config, 3)).num_classes == 3


def test_the_number_that_the_user_gives_does_not_matter():
    config = encoder_decoder('FCN', auxiliary=True)
    stated = copy.deepcopy(config)
    stated['decode_head'].update(num_classes=19, out_channels=19)
    stated['auxiliary_head'].update(num_classes=19)
    found = stock(stated, 3)
    assert found['decode_head'].pop('out_channels') == 3
    assert found == stock(config, 3)


def test_nested_heads():
    """K-Net: a head that generates kernels, and a list of heads that update them."""
    updates = [dict(type='KernelUpdateHead', num_classes=150, num_ffn_fcs=2) for _ in range(3)]
    config = dict(type='EncoderDecoder', decode_head=dict(
        type='IterativeDecodeHead', num_stages=3, kernel_update_head=updates,
        kernel_generate_head=dict(type='FCNHead', num_classes=150, loss_decode=CE)),
        auxiliary_head=dict(type='FCNHead', num_classes=150, loss_decode=CE))
    found = stock(config, 4)
    assert numbers(found) == [4] * 5
    assert found['decode_head']['kernel_update_head'][1] == dict(type='KernelUpdateHead', num_classes=4, num_ffn_fcs=2)


def test_nested_heads_get_no_loss_that_they_do_not_take():
    """K-Net's own arguments are not those of BaseDecodeHead; its loss is that of the head that generates kernels."""
    config = encoder_decoder()
    config['decode_head'] = dict(type='IterativeDecodeHead', num_stages=0, kernel_update_head=[],
                                 kernel_generate_head=dict(config['decode_head'], num_classes=150))
    built = MODELS.build(stock(config, 4)).decode_head
    assert built.num_classes == 4 and built.kernel_generate_head.loss_decode.avg_non_ignore


def stdc(classes):
    boundary = [dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.), dict(type='DiceLoss', loss_weight=1.)]
    stated = {} if classes is None else dict(num_classes=classes)
    return dict(type='EncoderDecoder', decode_head=dict(type='FCNHead', loss_decode=CE, **stated), auxiliary_head=[
        dict(type='FCNHead', loss_decode=CE, **stated), dict(type='STDCHead', num_classes=2, loss_decode=boundary)])


@pytest.mark.parametrize('classes', [19, None, 2])
def test_boundary_heads_keep_their_two_classes(classes):
    found = stock(stdc(classes), 4)
    assert found['decode_head']['num_classes'] == found['auxiliary_head'][0]['num_classes'] == 4
    assert found['auxiliary_head'][1]['num_classes'] == 2


def test_a_number_that_only_the_auxiliary_head_states():
    config = encoder_decoder('FCN', auxiliary=True)
    config['auxiliary_head']['num_classes'] = 19
    assert numbers(stock(config, 3)) == [3, 3]


@pytest.mark.parametrize('seen, expected', [(1, [.0]), (3, [.0, .3, .1]), (5, [.0, .3, .1, .4, .2])])
def test_class_weights_are_cut_and_put_in_order(seen, expected):
    loss = dict(type='CrossEntropyLoss', class_weight=[.0, .1, .2, .3, .4])
    found = stock(model_of([loss, dict(type='OhemCrossEntropy', class_weight=(.0, .1, .2, .3, .4))]), seen)
    assert [loss['class_weight'] for loss in losses(found)] == [expected, expected]


def test_class_weights_that_do_not_fit():
    loss = dict(type='CrossEntropyLoss', class_weight=[.5, .5, .5, .4])
    with pytest.raises(ValueError, match=r'model.decode_head.loss_decode.class_weight: got 4 entries, expected 5'):
        stock(model_of(loss), 3)
    with pytest.raises(ValueError, match='got a file of weights, which cannot be cut'):
        stock(model_of(dict(loss, class_weight='weights.npy')), 3)


def test_the_same_weight_for_all_classes_fits_any_number_of_them():
    found = stock(model_of(dict(type='CrossEntropyLoss', class_weight=[.5] * 19)), 3)
    assert losses(found)[0]['class_weight'] == [.5] * 3


def masks(*weights):
    head = dict(type='Mask2FormerHead', num_classes=150, out_channels=150, feat_channels=150,
                loss_cls=dict(type='mmdet.CrossEntropyLoss', class_weight=list(weights)))
    return dict(type='EncoderDecoder', backbone=dict(type='ResNet'), decode_head=head)


@pytest.mark.parametrize('weights, expected', [
    ([1.] * 150 + [.1], [1.] * 3 + [.1]), ([.0, .1, .2, .3, .4, .9], [.0, .3, .1, .9])])
def test_class_weights_of_a_mask_head_end_with_no_object_s(weights, expected):
    found = stock(masks(*weights), 3)['decode_head']
    assert found['loss_cls']['class_weight'] == expected
    assert (found['num_classes'], found['out_channels'], found['feat_channels']) == (3, 150, 150)


def test_mask_heads_have_no_cross_entropy_to_replace():
    with pytest.raises(ValueError, match='no loss_decode. For this head take .* finetune, lwf'):
        replace_cross_entropy(stock(masks(1., 1.), 3), dict(type='UnbiasedCrossEntropyLoss'), 2)


def test_a_loss_that_replaces_cross_entropy_keeps_the_weights_of_classes():
    known = stock(model_of(dict(CE, class_weight=[.1, .2, .3, .4, .5])), 3)
    found = losses(replace_cross_entropy(known, dict(type='UnbiasedCrossEntropyLoss'), 2))[0]
    assert found['class_weight'] == [.1, .4, .2] and found['type'] == 'UnbiasedCrossEntropyLoss'


def test_cross_entropy_averages_over_valid_pixels():
    weighted = dict(type='CrossEntropyLoss', class_weight=[1.] * 5)
    dice = dict(type='DiceLoss')
    own = dict(type='CrossEntropyLoss', avg_non_ignore=False)
    found = losses(stock(model_of([CE, weighted, dice, own, dict(CE, class_weight=None)]), 5))
    assert [loss.get('avg_non_ignore') for loss in found] == [True, None, None, False, True]
    config = encoder_decoder('Enc', auxiliary=True)
    found = losses(stock(config, 5))
    assert [loss['avg_non_ignore'] for loss in found] == [True] * 3  # the head's, its SE layer's and the auxiliary's


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_the_default_cross_entropy_averages_over_valid_pixels():
    config = encoder_decoder('FCN')
    del config['decode_head']['loss_decode']
    assert MODELS.build(stock(config, 5)).decode_head.loss_decode.avg_non_ignore


def test_the_users_config_stays_as_it_is():
    config = ConfigDict(encoder_decoder('FCN', auxiliary=True))
    config.decode_head.loss_decode.class_weight = [1.] * 5
    before = copy.deepcopy(config.to_dict())
    found = stock(config, 3)
    assert config.to_dict() == before
    assert all(type(node) is dict for node in walk(found))


def test_student():
    split = make_split(2, 1)
    for config, kind in ((encoder_decoder(), ContinualEncoderDecoder), (cascade(), ContinualCascadeEncoderDecoder)):
        known = stock(config, 3)
        found = student_model(known, ConfigDict(split=split.to_dict(), previous=None, teacher=None))
        assert type(MODELS.build(found)) is kind
        assert {key: found[key] for key in known if key != 'type'} == {key: known[key] for key in known if key != 'type'}
        assert known['type'] == config['type'] and 'continual' not in known
    with pytest.raises(ValueError, match="got 'SAN', valid are EncoderDecoder, CascadeEncoderDecoder"):
        stock(dict(type='SAN'), 3)


def test_teacher():
    config = encoder_decoder('FCN', auxiliary=True, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='x.pth')))
    found = teacher_model(stock(config, 3))
    assert found['type'] == 'EncoderDecoder' and found['auxiliary_head'] is None
    assert found['backbone']['init_cfg'] is None
    assert not MODELS.build(found).with_auxiliary_head


def test_nothing_is_fetched():
    normal = dict(type='Normal', std=.01)
    config = dict(type='EncoderDecoder', pretrained='open-mmlab://resnet50_v1c',
                  backbone=dict(type='ResNetV1c', init_cfg=dict(type='Pretrained', checkpoint='x.pth')),
                  neck=dict(type='ICNeck', backbone=dict(pretrained='y.pth')),
                  decode_head=[dict(type='FCNHead', init_cfg=normal), dict(type='OCRHead', init_cfg=None)])
    before = copy.deepcopy(config)
    found = without_pretrained(config)
    assert config == before
    assert found['pretrained'] is None and found['neck']['backbone']['pretrained'] is None
    assert found['backbone'] == dict(type='ResNetV1c', init_cfg=None)
    assert found['decode_head'] == before['decode_head']


def test_nothing_of_a_list_is_fetched():
    normal = dict(type='Kaiming', layer='Conv2d')
    init_cfg = [normal, dict(type='Pretrained', checkpoint='x.pth')]
    found = without_pretrained(dict(type='EncoderDecoder', backbone=dict(type='ResNetV1c', init_cfg=init_cfg)))
    assert not [node for node in walk(found) if node.get('type') == 'Pretrained']
    assert normal in walk(found)


def test_replacing_a_single_cross_entropy():
    config = encoder_decoder('FCN', auxiliary=True)
    before = copy.deepcopy(config)
    found = replace_cross_entropy(config, dict(UNCE, average='all'), 4)
    assert config == before
    for one, weight in (('decode_head', 1.), ('auxiliary_head', .4)):
        assert found[one].pop('loss_decode') == dict(UNCE, average='all', num_old=4, loss_weight=weight)
        assert before[one].pop('loss_decode')
    assert found == before


def test_replacing_cross_entropy_among_others():
    """Dice and a boundary's sigmoid stay; OHEM, as a loss, gives way, and as a sampler stays."""
    dice, sigmoid = dict(type='DiceLoss', loss_weight=3.), dict(type='CrossEntropyLoss', use_sigmoid=True)
    ohem, sampler = dict(type='OhemCrossEntropy', loss_weight=.5), dict(type='OHEMPixelSampler', thresh=.7)
    found = replace_cross_entropy(model_of([dice, CE, sigmoid, ohem], sampler=sampler), UNCE, 2)['decode_head']
    assert found['loss_decode'] == [dice, dict(UNCE, num_old=2, loss_weight=1.), sigmoid,
                                    dict(UNCE, num_old=2, loss_weight=.5)]
    assert found['sampler'] == sampler


def test_replacing_in_cascades_and_lists():
    found = replace_cross_entropy(cascade(), UNCE, 2)
    assert [one['loss_decode']['type'] for one in found['decode_head']] == [UNCE['type']] * 2
    found = replace_cross_entropy(stdc(19), UNCE, 2)
    kinds = [[loss['type'] for loss in losses(one)] for one in found['auxiliary_head']]
    assert kinds == [[UNCE['type']], ['CrossEntropyLoss', 'DiceLoss']]


def test_the_loss_of_a_context_encoding_layer_stays():
    found = replace_cross_entropy(encoder_decoder('Enc'), UNCE, 2)['decode_head']
    assert found['loss_decode']['type'] == UNCE['type']
    assert found['loss_se_decode'] == head('Enc')['loss_se_decode']


def test_a_sigmoid_alone_is_the_cross_entropy():
    """Fast-SCNN's heads have no other."""
    found = replace_cross_entropy(model_of(dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=.4)), UNCE, 2)
    assert found['decode_head']['loss_decode'] == dict(UNCE, num_old=2, loss_weight=.4)


@pytest.mark.parametrize('loss', [dict(type='DiceLoss'), [dict(type='DiceLoss'), dict(type='FocalLoss')]])
def test_nothing_to_replace(loss):
    with pytest.raises(ValueError, match='UnbiasedCrossEntropyLoss replaces CrossEntropyLoss') as error:
        replace_cross_entropy(model_of(loss), UNCE, 2)
    for one in loss if isinstance(loss, list) else [loss]:
        assert one['type'] in str(error.value)


def test_no_loss_to_replace():
    with pytest.raises(ValueError, match='no loss_decode'):
        replace_cross_entropy(dict(type='EncoderDecoder', decode_head=dict(type='FCNHead')), UNCE, 2)


@pytest.mark.parametrize('loss_decode', [dict(type='DiceLoss'), None])
def test_nothing_to_replace_in_the_decode_head_alone(loss_decode):
    config = encoder_decoder('FCN', auxiliary=True)
    del config['decode_head']['loss_decode']
    if loss_decode:
        config['decode_head']['loss_decode'] = loss_decode
    with pytest.raises(ValueError, match='replaces'):
        replace_cross_entropy(config, UNCE, 2)


def test_walk_goes_from_the_outside_in():
    config = dict(a=dict(b=[dict(c=1), (dict(d=2), 3)]), e='text')
    assert [sorted(node) for node in walk(config)] == [['a', 'e'], ['b'], ['c'], ['d']]


def test_unknown_adds_a_channel_to_all_heads():
    config = encoder_decoder('FCN', auxiliary=True)
    assert numbers(stock(config, 3, unknown=True)) == [4, 4]
    config['decode_head'].update(num_classes=19, out_channels=19)
    config['auxiliary_head'].update(num_classes=19)
    found = stock(config, 3, unknown=True)
    assert numbers(found) == [4, 4] and found['decode_head']['out_channels'] == 4
    assert numbers(stock(cascade(), 4, unknown=True)) == [5, 5]
    assert numbers(stock(stdc(2), 4, unknown=True)) == [5, 5, 2]  # a boundary head has no unknown


def test_unknown_has_a_class_weight_of_one():
    loss = dict(CE, class_weight=[.1, .2, .3, .4, .5])
    found = losses(stock(model_of(loss), 3, unknown=True))[0]
    assert found['class_weight'] == [.1, .4, .2, 1.]
    assert losses(stock(model_of(loss), 3))[0]['class_weight'] == [.1, .4, .2]


@pytest.mark.parametrize('config', [encoder_decoder(), cascade()], ids=['one head', 'cascade'])
def test_a_model_that_stock_can_not_say(config):
    known = stock(config, 4, unknown=True)
    before = copy.deepcopy(known)
    found = extended_model(known, 'sigmoid', None, [2, 1])
    assert found == dict(known, type=f'Extended{known["type"]}', unknown=True) and known == before
    assert MODELS.build(found).reserved_rows == 1
    assert extended_model(known, None, None, [2, 1]) is known
    assert student_model(found, {})['type'] == f'Continual{known["type"]}'
    assert teacher_model(found)['type'] == found['type'] and teacher_model(found)['unknown']


def test_a_classifier_that_grows_by_steps_is_told_them():
    known = stock(encoder_decoder(), 4, unknown=True)
    found = extended_model(known, 'sigmoid', ConfigDict(type='StepHeads', norm_cfg=dict(type='SyncBN')), (2, 1))
    assert found['classifier'] == dict(type='StepHeads', norm_cfg=dict(type='SyncBN'), steps=[2, 1])
    assert all(type(node) is dict for node in walk(found))
    # One that knows of no steps is not.
    found = extended_model(known, None, dict(type='CosineClassifier'), (2, 1))
    assert found['classifier'] == dict(type='CosineClassifier') and found['unknown'] is False


def test_models_that_can_not_be_extended():
    with pytest.raises(ValueError, match="got model.type 'SAN', which has neither; valid are EncoderDecoder, Cas"):
        extended_model(dict(type='SAN'), 'sigmoid', None, (2, ))


@pytest.mark.parametrize('place', ['decode_head', 'auxiliary_head'])
def test_one_channel_for_two_classes_is_refused(place):
    single = dict(type='FCNHead', num_classes=2, out_channels=1, threshold=0.3,
                  loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    model = dict(dict(type='EncoderDecoder', decode_head=dict(type='FCNHead', num_classes=2)), **{place: single})
    with pytest.raises(ValueError, match='out_channels=1, expected a channel for each class, .* Remove out_channels and threshold'):
        stock(model, 2, order=[0, 1])


def test_a_sigmoid_of_several_channels_grows():
    head = dict(type='FCNHead', num_classes=9, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    grown = stock(dict(type='EncoderDecoder', decode_head=head), 3, order=[0, 1, 2])['decode_head']
    assert grown['num_classes'] == 3
    assert grown['loss_decode'] == dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)
