"""What stands still and what moves; that it does so in training is in test_frozen_students.py."""
import copy
from dataclasses import replace

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmcss.engine.model_config import extended_model, teacher_model
from mmcss.models.freezing import backbone_is_frozen, row_groups
from tests.models.makers import (student_model, BN, MODEL_CONFIGS, encoder_decoder, hand_over, initialise, make_split, move, resnet,
                                 with_classes)

OLD, NEW = 3, 2
SSUL = dict(frozen=['shared', 'old'])
OFFICIAL = dict(frozen=['shared', 'old', 'norms'], row_lr=dict(background=1e-4))
CONV_SEG = ['decode_head.conv_seg.weight', 'decode_head.conv_seg.bias']


def extended(config, steps, unknown=True, classifier=None):
    return extended_model(with_classes(config, 1 + sum(steps) + unknown), 'sigmoid' if unknown else None, classifier, steps)


def make_student(folder, config=None, unknown=True, classifier=None, moved=.05, **method):
    """A student of step 1 with an unknown class, grown from a teacher whose tensors are far from their first values."""
    config = config or encoder_decoder()
    classifier = dict(type='StepHeads') if classifier else None
    split, model = make_split(OLD, NEW), extended(config, (OLD - 1, ), unknown, classifier)
    torch.manual_seed(0)
    teacher = MODELS.build(copy.deepcopy(model))
    initialise(teacher)
    move(teacher, 1, .1)
    with torch.no_grad():
        for module in teacher.modules():
            if isinstance(module, _NormBase):
                module.running_mean.normal_(0, .3)
                module.running_var.uniform_(.5, 2)
    path = hand_over(folder / 'step_0.pth', teacher, split.old)
    continual = dict(method, split=split.to_dict(), previous=str(path))
    if method.get('targets') or method.get('losses'):
        continual['teacher'] = teacher_model(model)
    student = MODELS.build(student_model(extended(config, (OLD - 1, NEW), unknown, classifier), continual))
    initialise(student)
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter.add_(moved * torch.randn_like(parameter))
    return student


def trained(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def names_of(model, prefix):
    return [name for name, _ in model.named_parameters() if name.startswith(prefix)]


def in_training(model, kind):
    """Names of modules of a kind that are in training mode."""
    return [name for name, module in model.named_modules() if isinstance(module, kind) and module.training]


def test_whose_a_row_is():
    split = make_split(OLD, NEW)
    assert row_groups(split, 1) == ['background', 'old', 'old', 'new', 'new', 'unknown']
    assert row_groups(split, 0) == ['background', 'old', 'old', 'new', 'new']
    assert row_groups(make_split(0, OLD), 1) == ['background', 'new', 'new', 'unknown']
    assert row_groups(replace(split, background=None), 0) == ['old', 'old', 'old', 'new', 'new']


def test_all_but_the_classifier_s_rows_of_background_new_and_unknown(tmp_path):
    student = make_student(tmp_path, **SSUL)
    assert trained(student) == CONV_SEG
    assert {name: rate.flatten().tolist() for name, rate in student.row_rates.items()} == dict.fromkeys(
        CONV_SEG, [1, 0, 0, 1, 1, 1])
    assert [student.row_rates[name].shape for name in CONV_SEG] == [(6, 1, 1, 1), (6, )]


@pytest.mark.parametrize('name, others', [
    ('ASPP', ['auxiliary_head.conv_seg']), ('OCR', ['decode_head.0.conv_seg']), ('Enc', ['decode_head.se_layer']),
    ('Segformer', [])])
def test_all_classifiers_of_a_model(tmp_path, name, others):
    student = make_student(tmp_path, MODEL_CONFIGS[name], **SSUL)
    main = 'decode_head.1.conv_seg' if name == 'OCR' else 'decode_head.conv_seg'
    expected = sorted(f'{one}.{kind}' for one in (main, *others) for kind in ('weight', 'bias'))
    assert sorted(trained(student)) == sorted(student.row_rates) == expected
    assert all(rate.flatten().tolist() == [1, 0, 0, 1, 1, 1] for rate in student.row_rates.values())


def test_without_an_unknown_class(tmp_path):
    student = make_student(tmp_path, unknown=False, **SSUL)
    assert trained(student) == CONV_SEG
    assert all(rate.flatten().tolist() == [1, 0, 0, 1, 1] for rate in student.row_rates.values())


def test_learning_rates_of_rows_alone(tmp_path):
    """Nothing is frozen, and no module but those of stock stands still."""
    student = make_student(tmp_path, row_lr=dict(background=1e-4, unknown=2))
    assert trained(student) == names_of(student, '')
    assert sorted(student.row_rates) == sorted(CONV_SEG)
    for rate in student.row_rates.values():
        torch.testing.assert_close(rate.flatten(), torch.tensor([1e-4, 1, 1, 1, 1, 2]))
    student.train()
    assert len(in_training(student, _NormBase)) == sum(isinstance(one, _NormBase) for one in student.modules())


def test_a_frozen_group_has_no_learning_rate(tmp_path):
    student = make_student(tmp_path, frozen=['background', 'new'], row_lr=dict(background=.5, old=.1))
    for rate in student.row_rates.values():
        torch.testing.assert_close(rate.flatten(), torch.tensor([0, .1, .1, 0, 0, 1]))
    assert trained(student) == names_of(student, '')


def test_a_classifier_of_which_no_row_moves_is_frozen(tmp_path):
    student = make_student(tmp_path, frozen=['background', 'old', 'new', 'unknown'])
    assert not set(trained(student)) & set(CONV_SEG) and student.row_rates == {}
    assert len(trained(student)) == len(names_of(student, '')) - 2


def test_a_module_by_name(tmp_path):
    student = make_student(tmp_path, frozen=['backbone.layer1', 'decode_head.convs'])
    frozen = set(names_of(student, '')) - set(trained(student))
    assert frozen == {*names_of(student, 'backbone.layer1.'), *names_of(student, 'decode_head.convs.')}
    assert len(frozen) == 15 and student.row_rates == {}
    student.train()
    still = [name for name, module in student.named_modules() if isinstance(module, _NormBase) and not module.training]
    assert [name.rpartition('.')[0] for name in still] == [
        'backbone.layer1.0', 'backbone.layer1.0', 'backbone.layer1.1', 'backbone.layer1.1', 'decode_head.convs.0']
    assert student.backbone.training and student.backbone.layer1.training


def test_the_name_of_a_module_is_no_beginning_of_another(tmp_path):
    """backbone.layer1 is not backbone.layer10, and decode_head.conv is none."""
    with pytest.raises(ValueError, match=r"got \['decode_head.conv'\], valid are"):
        make_student(tmp_path, frozen=['decode_head.conv'])


@pytest.mark.parametrize('norm_cfg, kind', [(BN, nn.BatchNorm2d), (dict(type='GN', num_groups=2), nn.GroupNorm)])
def test_all_norm_layers(tmp_path, norm_cfg, kind):
    config = encoder_decoder(backbone=dict(norm_cfg=norm_cfg))
    config['decode_head']['norm_cfg'] = norm_cfg
    student = make_student(tmp_path, config, frozen=['norms'])
    norms = {f'{name}.{own}' for name, module in student.named_modules() if isinstance(module, kind)
             for own in ('weight', 'bias')}
    assert len(norms) == 46
    assert set(names_of(student, '')) - set(trained(student)) == norms
    student.train()
    assert in_training(student, _NormBase) == []
    assert student.backbone.training and student.decode_head.training


@pytest.mark.parametrize('method, message', [
    (dict(frozen=['share']), r"continual.frozen: got \['share'\], valid are shared, norms, background, "
                             'old, new, unknown, and names of modules such as data_preprocessor, backbone, '),
    (dict(frozen=['shared', 'neck', 'head']), r"continual.frozen: got \['neck', 'head'\], valid are"),
    (dict(row_lr=dict(shared=.1, backgrund=.2)), r"continual.row_lr: got \{'shared': 0.1, .*, expected 'background' or 'old'"),
])
def test_names_that_mean_nothing(tmp_path, method, message):
    with pytest.raises(ValueError, match=message):
        make_student(tmp_path, **method)


def test_the_authors_code_of_ssul(tmp_path):
    """Its optimizer has the convolutions of three heads: background (slower), the newest step, unknown."""
    student = make_student(tmp_path, classifier=True, **OFFICIAL)
    head = 'decode_head.conv_seg'
    assert trained(student) == [f'{head}.{group}.{name}' for group in ('background', 'step_1', 'unknown')
                                for name in ('0.weight', '3.weight', '3.bias')]
    assert list(student.row_rates) == [f'{head}.background.{name}' for name in ('0.weight', '3.weight', '3.bias')]
    assert [rate.tolist() for rate in student.row_rates.values()] == [
        [[[[pytest.approx(1e-4)]]]], [[[[pytest.approx(1e-4)]]]], [pytest.approx(1e-4)]]


def test_step_heads_without_frozen_norms(tmp_path):
    student = make_student(tmp_path, classifier=True, **SSUL)
    assert len(trained(student)) == 15 and student.row_rates == {}
    student.train()
    assert in_training(student, _NormBase) == [f'decode_head.conv_seg.{group}.1' for group in
                                               ('background', 'step_1', 'unknown')]


def test_other_heads_of_a_model_with_step_heads(tmp_path):
    """Their rows go by group as ever."""
    student = make_student(tmp_path, MODEL_CONFIGS['ASPP'], classifier=True, **OFFICIAL)
    assert [name for name in trained(student) if not name.startswith('decode_head.conv_seg.')] == [
        'auxiliary_head.conv_seg.weight', 'auxiliary_head.conv_seg.bias']
    torch.testing.assert_close(student.row_rates['auxiliary_head.conv_seg.bias'], torch.tensor([1e-4, 0, 0, 1, 1, 1]))


@pytest.mark.parametrize('name', ['FCN', 'ASPP', 'OCR'])
@pytest.mark.parametrize('classifier', [False, True])
def test_what_is_frozen_stays_in_evaluation_mode(tmp_path, name, classifier):
    student = make_student(tmp_path, MODEL_CONFIGS[name], classifier=classifier, **OFFICIAL)
    dropout = [key for key, module in student.named_modules() if isinstance(module, nn.Dropout2d)]
    for _ in range(2):
        student.train()
        assert in_training(student, _NormBase) == []
        assert not student.backbone.training and in_training(student.backbone, nn.Module) == []
        assert student.training and in_training(student, nn.Dropout2d) == dropout != []
        student.eval()
        assert in_training(student, nn.Module) == []


def test_sync_bn_that_becomes_bn_stays_in_evaluation_mode(tmp_path):
    """A runner of one process exchanges these layers once the model is built."""
    config = encoder_decoder(backbone=dict(norm_cfg=dict(type='SyncBN')))
    config['decode_head']['norm_cfg'] = dict(type='SyncBN')
    student = revert_sync_batchnorm(make_student(tmp_path, config, **SSUL))
    student.train()
    assert in_training(student, _NormBase) == []


def test_a_copy_stands_still_as_well(tmp_path):
    """As an average of the weights does."""
    student = copy.deepcopy(make_student(tmp_path, **SSUL)).train()
    assert in_training(student, _NormBase) == [] and trained(student) == CONV_SEG


def test_a_frozen_body():
    """All of what stands before the decode head, a neck too."""
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=64, num_outs=4, norm_cfg=BN)
    for names in (['backbone'], ['backbone', 'neck']):
        model = MODELS.build(with_classes(dict(encoder_decoder(), **dict(neck=neck) if 'neck' in names else {}), 4))
        for name in names:
            assert not backbone_is_frozen(model)
            getattr(model, name).requires_grad_(False)
        assert backbone_is_frozen(model)


@pytest.mark.parametrize('frozen, still', [(['backbone'], {'backbone'}), (['backbone', 'neck'], {'backbone', 'neck'}),
                                           (['neck'], {'neck'}), (['shared', 'old'], {'backbone', 'neck'})])
def test_a_neck_stands_still(tmp_path, frozen, still):
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=64, num_outs=4, norm_cfg=BN)
    student = make_student(tmp_path, dict(encoder_decoder(), neck=neck), frozen=frozen).train()
    assert {name for name in ('backbone', 'neck') if not getattr(student, name).training} == still
    assert backbone_is_frozen(student) == (still == {'backbone', 'neck'})


def test_at_the_first_step_nothing_is_frozen():
    """Not even norm layers that stock does not train: their statistics move as ever."""
    backbone = resnet(norm_cfg=dict(BN, requires_grad=False))
    continual = dict(OFFICIAL, split=make_split(0, OLD).to_dict(), previous=None, teacher=None)
    config = dict(encoder_decoder(), backbone=backbone)
    student = MODELS.build(student_model(extended(config, (OLD - 1, )), continual))
    stock = MODELS.build(extended(config, (OLD - 1, )))
    assert trained(student) == trained(stock) and student.row_rates == {}
    assert in_training(student.train(), nn.Module) == in_training(stock.train(), nn.Module)


def test_a_plan_looks_at_a_student_without_the_step_before(tmp_path):
    split = make_split(OLD, NEW)
    continual = dict(OFFICIAL, split=split.to_dict(), previous=str(tmp_path / 'step_0.pth'), teacher=None)
    student = MODELS.build(student_model(extended(encoder_decoder(), (OLD - 1, NEW)), continual))
    assert trained(student) == names_of(student, '') and student.row_rates == {}
