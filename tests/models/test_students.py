import copy
import pickle

import pytest
import torch
from mmseg.models import EncoderDecoder

from mmcss.losses import UnbiasedDistillation
from mmcss.models import ContinualMixin, EntropyPseudoLabels, FrozenTeacher, Method
from mmcss.models.method import Learning
from mmcss.models.students import make_student, student_class
from tests.models.makers import MODEL_CONFIGS, build, encoder_decoder, images, labels, make_split, samples, student_and_teacher, with_classes
from tests.models.test_segmentors import MIB, NEW, OLD, SEEN, plain_student


@pytest.mark.parametrize('name', list(MODEL_CONFIGS))
def test_a_stock_model_becomes_a_student_and_a_stock_model_again(tmp_path, name):
    """With the losses of the student that a config makes."""
    config = MODEL_CONFIGS[name]
    expected, old = student_and_teacher(tmp_path, config, OLD, NEW, MIB)
    stock = build(with_classes(config, SEEN))
    stock.load_state_dict(expected.state_dict())
    kind, own = type(stock), set(vars(stock))
    again = make_student(stock, Method(expected.split, losses=dict(unkd=UnbiasedDistillation(loss_weight=10.))),
                         Learning(), FrozenTeacher(copy.deepcopy(old)))
    assert isinstance(stock, ContinualMixin) and isinstance(stock, kind) and student_class(kind) is type(stock)
    found = []
    for model in (expected, stock):
        torch.manual_seed(4)
        found.append(model.train().loss(images(), samples(labels([0, 3, 4, 255]))))
    assert 'loss_unkd' in found[0] and found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    again()
    assert type(stock) is kind and set(vars(stock)) == own


def test_a_stock_model_that_became_a_student_can_be_pickled_and_copied():
    """With its method, and each as a student of its own."""
    method = Method(make_split(OLD, NEW), losses=dict(unkd=UnbiasedDistillation()))
    stock, teacher = build(with_classes(encoder_decoder(), SEEN)), build(with_classes(encoder_decoder(), OLD))
    again = make_student(stock, method, Learning(), FrozenTeacher(teacher))
    found = []
    for model in (stock, pickle.loads(pickle.dumps(stock)), copy.deepcopy(stock)):
        torch.manual_seed(4)
        found.append(model.loss(images(), samples(labels([0, 3, 4, 255])))['loss_unkd'].item())
        assert type(model) is student_class(EncoderDecoder)
    assert found[0] > 0 and found == found[:1] * 3
    again()
    assert type(pickle.loads(pickle.dumps(stock))) is EncoderDecoder


def test_what_can_not_become_a_student_stays_as_it_was():
    method = Method(make_split(OLD, NEW), targets=EntropyPseudoLabels())
    student = build(plain_student(with_classes(encoder_decoder(), SEEN)))
    for model in (student, torch.nn.Identity()):
        with pytest.raises(TypeError, match=f'model: got {type(model).__name__}, expected a stock EncoderDecoder'):
            make_student(model, method, Learning())
    stock = build(with_classes(encoder_decoder(), SEEN))
    with pytest.raises(ValueError, match=r"continual.stages: got \['neck'\], which are no modules of this model"):
        make_student(stock, method, Learning(stages=['neck']))
    assert type(stock) is EncoderDecoder and 'method' not in vars(stock)
