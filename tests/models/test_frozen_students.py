"""Steps of students of which most is frozen: what moves, and how often a backbone runs."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmcss.hooks import RowRatesHook
from mmcss.models import segmentors
from mmcss.parts import Needs, Part
from tests.models.makers import BN, MODEL_CONFIGS, cascade, encoder_decoder, gradients, images, labels, samples, total
from tests.models.test_freezing import CONV_SEG, NEW, OFFICIAL, OLD, SSUL, make_student

UNKNOWN = OLD + NEW
BCE = dict(type='BinaryCrossEntropyLoss', num_old=OLD, classes='all')
PSEUDO = dict(targets=dict(type='SigmoidPseudoLabels', threshold=.5))
OPTIMIZERS = {
    'SGD': lambda parameters, lr=.1: torch.optim.SGD(parameters, lr, momentum=.9, weight_decay=.01, nesterov=True),
    'AdamW': lambda parameters, lr=.01: torch.optim.AdamW(parameters, lr, weight_decay=.1),
}


def ssul(folder, config=None, **settings):
    """A student of SSUL in training mode: sigmoids for all channels, pseudo labels by its teacher's."""
    config = dict(config or encoder_decoder())
    heads = config['decode_head']
    config['decode_head'] = ([dict(one, loss_decode=BCE) for one in heads] if isinstance(heads, list)
                             else dict(heads, loss_decode=BCE))
    return make_student(folder, config, **{**SSUL, **PSEUDO, **settings}).train()


def batch():
    return images(), samples(labels([0, 0, 3, 4, UNKNOWN, 255]))


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def hold(student, optimizer):
    """A hook that holds the rows of a student, as in a runner."""
    hook = RowRatesHook()
    hook.before_train(SimpleNamespace(model=student, optim_wrapper=SimpleNamespace(optimizer=optimizer)))
    return hook


def train(student, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        total(student.loss(*batch())).backward()
        optimizer.step()


@pytest.mark.parametrize('steps', [1, 3])
@pytest.mark.parametrize('kind', OPTIMIZERS)
def test_rows_of_background_new_and_unknown_move_and_nothing_else(tmp_path, kind, steps):
    """Weight decay and momentum move no row of old classes, and batches no statistics."""
    student = ssul(tmp_path)
    before = snapshot(student)
    optimizer = OPTIMIZERS[kind](student.parameters())
    hold(student, optimizer)
    train(student, optimizer, steps)
    after = student.state_dict()
    for name, value in before.items():
        if name not in CONV_SEG:
            assert torch.equal(after[name], value), name
            continue
        assert torch.equal(after[name][1:OLD], value[1:OLD])
        for row in (0, *range(OLD, UNKNOWN + 1)):
            assert not torch.equal(after[name][row], value[row]), (name, row)


@pytest.mark.parametrize('kind', OPTIMIZERS)
def test_three_heads_of_the_authors_code_move_and_nothing_else(tmp_path, kind):
    student = ssul(tmp_path, classifier=True, **OFFICIAL)
    before = snapshot(student)
    optimizer = OPTIMIZERS[kind](student.parameters())
    hold(student, optimizer)
    train(student, optimizer)
    moved = [name for name, value in student.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == [name for name, parameter in student.named_parameters() if parameter.requires_grad]
    assert len(moved) == 9


def test_the_background_s_head_moves_more_slowly(tmp_path):
    """By a ten-thousandth of what it would do without row_lr."""
    ways = []
    for name, method in (('slow', OFFICIAL), ('fast', dict(OFFICIAL, row_lr={}))):
        (tmp_path / name).mkdir()
        student = ssul(tmp_path / name, classifier=True, **method).double()
        moving = {name: value for name, value in student.named_parameters() if value.requires_grad}
        before = {name: value.detach().clone() for name, value in moving.items()}
        optimizer = OPTIMIZERS['SGD'](student.parameters(), lr=1.)
        hold(student, optimizer)
        sum(value.sum() for value in moving.values()).backward()
        optimizer.step()
        ways.append({name: value.detach() - before[name] for name, value in moving.items()})
    for name, way in ways[1].items():
        assert (way.abs() > 1).all()
        rate = 1e-4 if '.background.' in name else 1
        torch.testing.assert_close(ways[0][name], rate * way, rtol=1e-7, atol=0)


def test_frozen_rows_show_the_optimizer_no_gradient(tmp_path):
    student = ssul(tmp_path)
    optimizer = OPTIMIZERS['SGD'](student.parameters())
    total(student.loss(*batch())).backward()
    free = {name: gradient.clone() for name, gradient in gradients(student).items()}
    assert list(free) == CONV_SEG and all((gradient[1:OLD] != 0).any() for gradient in free.values())
    student.zero_grad()
    hold(student, optimizer)
    torch.manual_seed(0)
    total(student.loss(*batch())).backward()
    for gradient in gradients(student).values():
        assert (gradient[1:OLD] == 0).all()
        assert all((gradient[row] != 0).any() for row in (0, *range(OLD, UNKNOWN + 1)))
    assert all(parameter.grad is None for name, parameter in student.named_parameters() if name not in CONV_SEG)


def test_after_training_rows_are_free_again(tmp_path):
    student = ssul(tmp_path)
    optimizer = OPTIMIZERS['SGD'](student.parameters())
    hook = hold(student, optimizer)
    train(student, optimizer)
    hook.after_train(None)
    before = snapshot(student)
    train(student, optimizer)
    for name in CONV_SEG:
        assert all(not torch.equal(a, b) for a, b in zip(student.state_dict()[name], before[name]))


@pytest.fixture
def passes(monkeypatch):
    """Returns a function that counts passes of the backbones of a student and its teacher during its loss."""

    def count(student, data=None):
        calls = []
        handles = [model.backbone.register_forward_hook(lambda module, inputs, outputs, name=name: calls.append(name))
                   for name, model in (('student', student), ('teacher', student.teacher.build(torch.device('cpu'))))]
        torch.manual_seed(0)
        losses = student.loss(*(data or batch()))
        for handle in handles:
            handle.remove()
        return calls, losses

    return count


class LooksAt(Part):
    """A part that reads what it is told to of student and teacher."""

    takes_unknown = True

    def __init__(self, **needs):
        self.needs = Needs(**needs)

    def loss(self, batch):
        pairs = {'stages': lambda one: one.stages[-1], 'backbone_output': lambda one: one.backbone_output,
                 'embedding': lambda one: one.embedding, 'logits': lambda one: one.logits[:, :OLD]}
        return sum((pairs[name](batch.student) - pairs[name](batch.teacher)).square().mean()
                   for name in pairs if getattr(self.needs, name))


@pytest.mark.parametrize('frozen, calls', [
    (['shared', 'old'], ['student']), (['backbone'], ['student']), (['backbone', 'old'], ['student']),
    (['decode_head.convs'], ['teacher', 'student']), (['backbone.layer1'], ['teacher', 'student']),
    ([], ['teacher', 'student'])])
def test_a_frozen_backbone_runs_once_for_student_and_teacher(tmp_path, passes, frozen, calls):
    student = ssul(tmp_path, frozen=frozen)
    assert passes(student)[0] == calls
    assert passes(student)[0] == calls  # nothing is left over from the first time


@pytest.mark.parametrize('needs, calls', [
    ('embedding', ['student']), ('logits', ['student']),
    ('stages', ['teacher', 'student']), ('backbone_output', ['teacher', 'student'])])
def test_parts_that_look_into_the_backbone_have_it_run_twice(tmp_path, passes, needs, calls):
    student = ssul(tmp_path, losses=dict(own=dict(type=LooksAt, **{needs: True})))
    found, losses = passes(student)
    assert found == calls
    # A frozen body gives what the teacher's gives.
    assert (losses['loss_own'] > 0) == (needs == 'logits')


def test_a_frozen_neck_runs_once_as_well(tmp_path, passes):
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=64, num_outs=4, norm_cfg=BN)
    config = dict(encoder_decoder(), neck=neck)
    assert passes(ssul(tmp_path, config))[0] == ['student']
    assert passes(ssul(tmp_path, config, frozen=['backbone']))[0] == ['teacher', 'student']


def test_without_a_teacher_it_runs_as_ever(tmp_path):
    student = ssul(tmp_path, targets=None)
    calls = []
    student.backbone.register_forward_hook(lambda *_: calls.append(1))
    student.loss(*batch())
    assert calls == [1] and student.teacher is None


@pytest.mark.parametrize('config', [encoder_decoder(), MODEL_CONFIGS['ASPP'], cascade()], ids=['FCN', 'ASPP', 'OCR'])
@pytest.mark.parametrize('classifier', [False, True])
def test_one_pass_gives_what_two_give(tmp_path, passes, monkeypatch, config, classifier):
    """Losses and gradients, bit by bit; those of the decode head's convolutions too, where they are not frozen."""
    student = ssul(tmp_path, config, classifier=classifier, frozen=['backbone', 'norms'],
                   losses=dict(own=dict(type=LooksAt, embedding=True, logits=True)))
    found = []
    for number in (1, 2):
        student.zero_grad()
        calls, losses = passes(student)
        assert len(calls) == number
        total(losses).backward()
        found.append((losses, {name: gradient.clone() for name, gradient in gradients(student).items()}))
        monkeypatch.setattr(segmentors, 'backbone_is_frozen', lambda model: False)
    for first, second in zip(*found):
        assert list(first) == list(second) and len(first) > 2
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_features_of_one_batch_are_not_kept_for_the_next(tmp_path):
    student = ssul(tmp_path)
    student.loss(*batch())
    teacher = student.teacher.build(torch.device('cpu'))
    assert 'extract_feat' not in vars(student) and 'extract_feat' not in vars(teacher)
    with pytest.raises(RuntimeError):
        student.loss(images(), samples(labels([0, 40])))  # no such class
    assert 'extract_feat' not in vars(student) and 'extract_feat' not in vars(teacher)


def test_dropout_of_the_decode_head_goes_on(tmp_path):
    config = encoder_decoder()
    config['decode_head']['dropout_ratio'] = .5
    student = ssul(tmp_path, config)
    assert isinstance(student.decode_head.dropout, nn.Dropout2d)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(total(student.loss(*batch())).item())
    assert losses[0] == losses[1] != losses[2]
