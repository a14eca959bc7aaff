import copy
import random

import numpy as np
import pytest
import torch

from mmcss.engine.model_config import teacher_model
from mmcss.models import FrozenTeacher
from mmcss.parts import Needs
from tests.models.makers import (build, cascade, encoder_decoder, hand_over, images, labels, samples,
                                 student_and_teacher, with_classes)

OLD, NEW = 3, 2
METHOD = dict(losses=dict(unkd=dict(type='UnbiasedDistillation')))


@pytest.fixture
def pair(tmp_path):
    return student_and_teacher(tmp_path, encoder_decoder('ASPP', auxiliary=True), OLD, NEW, METHOD)


def make_teacher(folder, config, classes=OLD):
    config = with_classes(config, classes)
    model = build(config)
    path = hand_over(folder / 'step_0.pth', model, [f'c{i}' for i in range(classes)])
    return FrozenTeacher(teacher_model(config), str(path)), model.eval()


def test_it_is_no_part_of_the_student(pair):
    student, _ = pair
    student.loss(images(), samples(labels([0, 3])))
    teacher = student.teacher.model
    stock = build(with_classes(encoder_decoder('ASPP', auxiliary=True), OLD + NEW))
    assert list(student.state_dict()) == list(stock.state_dict())
    assert len(list(student.parameters())) == len(list(stock.parameters()))
    assert not {id(p) for p in student.parameters()} & {id(p) for p in teacher.parameters()}
    assert all(module is not teacher for module in student.modules())


def test_it_stays_frozen_and_in_evaluation_mode(pair):
    student, stock = pair
    student.train()
    student.loss(images(), samples(labels([0, 3])))['loss_unkd'].backward()
    student.train()
    teacher = student.teacher.model
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    for name, tensor in teacher.state_dict().items():  # batch norms have not moved either
        assert torch.equal(tensor, stock.state_dict()[name])


def test_copies_of_the_student_share_it(pair):
    student, _ = pair
    copied = copy.deepcopy(student)
    assert copied.teacher is student.teacher
    assert copied.backbone is not student.backbone
    copied.loss(images(), samples(labels([0, 3])))
    assert student.teacher.model is copied.teacher.model is not None


def test_it_has_no_auxiliary_head(pair):
    student, _ = pair
    teacher = student.teacher.build(torch.device('cpu'))
    assert student.with_auxiliary_head and not teacher.with_auxiliary_head
    assert not [name for name in teacher.state_dict() if 'auxiliary' in name]


def test_it_is_built_when_first_needed_and_once(tmp_path):
    lazy = FrozenTeacher(teacher_model(with_classes(encoder_decoder(), OLD)), str(tmp_path / 'missing.pth'))
    assert lazy.model is None
    with pytest.raises(FileNotFoundError, match='missing.pth'):
        lazy.predict(images(), (32, 32), Needs())
    teacher, _ = make_teacher(tmp_path, encoder_decoder())
    assert teacher.model is None
    teacher.predict(images(), (32, 32), Needs())
    first = teacher.model
    teacher.predict(images(), (32, 32), Needs())
    assert teacher.model is first is not None


def test_a_model_may_be_given_itself():
    model = build(with_classes(encoder_decoder('ASPP', auxiliary=True), OLD)).train()
    teacher = FrozenTeacher(model, stages=['backbone.layer1'])
    assert teacher.model is model is teacher.build(torch.device('cpu')) and model.tapped_stages == ('backbone.layer1', )
    assert not model.training and not model.with_auxiliary_head
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_testing_a_student_needs_no_teacher(tmp_path):
    student, _ = student_and_teacher(tmp_path, encoder_decoder(), OLD, NEW, METHOD)
    (tmp_path / 'step_0.pth').unlink()
    student.test_cfg = dict(mode='whole')
    with torch.no_grad():
        student.eval().encode_decode(images(), [dict(img_shape=(32, 32))] * 2)
    assert student.teacher.model is None


def test_building_leaves_random_numbers_as_they_were(tmp_path):
    teacher, _ = make_teacher(tmp_path, encoder_decoder('ASPP'))
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    teacher.build(torch.device('cpu'))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


@pytest.mark.filterwarnings('ignore:When align_corners=True')
@pytest.mark.parametrize('align_corners', [False, True])
def test_prediction(tmp_path, align_corners):
    teacher, stock = make_teacher(tmp_path, encoder_decoder('ASPP', align_corners=align_corners))
    inputs = images(size=(32, 48)).requires_grad_()
    found = teacher.predict(inputs, (32, 48), Needs(stages=True, embedding=True))
    with torch.no_grad():
        expected = stock._forward(inputs)
        large = stock.encode_decode(inputs, [dict(img_shape=(32, 48))] * 2)
    assert torch.equal(found.head_logits, expected) and expected.shape == (2, OLD, 4, 6)
    assert torch.equal(found.logits, large)
    assert found.logits is found.logits  # upsampled once
    assert [tuple(stage.shape) for stage in found.stages] == [(2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 4, 6), (2, 64, 4, 6)]
    assert found.embedding.shape == (2, 8, 4, 6)
    assert not any(tensor.requires_grad for tensor in (found.logits, found.embedding, *found.stages))


def test_only_what_is_needed_is_kept(tmp_path):
    teacher, _ = make_teacher(tmp_path, encoder_decoder())
    found = teacher.predict(images(), (32, 32), Needs())
    assert found.stages == () and found.embedding is None and found.upsampled is None


def test_prediction_of_a_cascade_is_that_of_its_last_head(tmp_path):
    teacher, stock = make_teacher(tmp_path, cascade())
    found = teacher.predict(images(), (32, 32), Needs(embedding=True))
    with torch.no_grad():
        expected = stock._forward(images())
        first = stock.decode_head[0].forward(stock.extract_feat(images()))
    assert torch.equal(found.head_logits, expected)
    assert not torch.equal(found.head_logits, first)


def test_prediction_under_autocast(tmp_path):
    teacher, _ = make_teacher(tmp_path, encoder_decoder())
    exact = teacher.predict(images(), (32, 32), Needs())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = teacher.predict(images(), (32, 32), Needs())
    assert found.head_logits.dtype == torch.bfloat16
    assert next(teacher.model.parameters()).dtype == torch.float32
    assert (found.head_logits - exact.head_logits).abs().mean() < .1 * exact.head_logits.abs().mean()


def test_a_hand_over_of_another_model_is_refused(tmp_path):
    """Strictly: nothing missing, nothing left over, no other number of classes."""
    config = with_classes(encoder_decoder(), OLD)
    for other in (with_classes(encoder_decoder(), OLD + 1), with_classes(encoder_decoder('ASPP'), OLD)):
        path = hand_over(tmp_path / 'step_0.pth', build(other), ['a'])
        with pytest.raises(RuntimeError, match='decode_head'):
            FrozenTeacher(teacher_model(config), str(path)).build(torch.device('cpu'))
