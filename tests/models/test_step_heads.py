import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

from mmcss.engine.model_config import extended_model
from mmcss.models import StepHeads
from tests.models.makers import (student_model, MODEL_CONFIGS, encoder_decoder, hand_over, initialise, make_split, move, spread,
                                 with_classes)

WIDTH = 6
STEPS = (2, 1, 3)
GROUPS = ['background', 'step_0', 'step_1', 'step_2', 'unknown']
NORM = ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
HEAD = ['0.weight', *(f'1.{name}' for name in NORM), '3.weight', '3.bias']


def heads(steps=STEPS, seed=0, **options):
    """StepHeads with tensors far from their first values."""
    torch.manual_seed(seed)
    module = StepHeads(WIDTH, sum(steps) + 2, steps, **options)
    spread(module, seed)
    for number, (name, buffer) in enumerate(module.named_buffers()):
        if name.endswith('num_batches_tracked'):
            buffer.fill_(10 * seed + number)
    return module.eval()


def model_of(config, steps, unknown=True):
    """Config of a segmentor with StepHeads, of these steps."""
    stock = with_classes(config, 1 + sum(steps) + unknown)
    return extended_model(stock, 'sigmoid' if unknown else None, dict(type='StepHeads'), steps)


def test_channels_are_in_learning_order():
    module = heads()
    with torch.no_grad():
        for number, (name, _) in enumerate(module.groups):
            last = getattr(module, name)[3]
            last.weight.zero_()
            last.bias.copy_(10 * number + torch.arange(len(last.bias)))
    found = module(torch.randn(2, WIDTH, 4, 5))
    assert found.shape == (2, 8, 4, 5)
    assert found[1, :, 2, 3].tolist() == [0, 10, 11, 20, 30, 31, 32, 40]


def test_each_group_is_a_head_of_its_own():
    module, x = heads(), torch.randn(2, WIDTH, 4, 5)
    state, expected = module.state_dict(), []
    assert sorted(state) == sorted(f'{group}.{name}' for group in GROUPS for name in HEAD)
    for group in GROUPS:
        weight, *norm, last, bias = (state[f'{group}.{name}'] for name in HEAD)
        hidden = F.batch_norm(F.conv2d(x, weight, padding=1), norm[2], norm[3], norm[0], norm[1])
        expected.append(F.conv2d(hidden.relu(), last, bias))
    torch.testing.assert_close(module(x), torch.cat(expected, dim=1))
    assert [len(state[f'{group}.3.bias']) for group in GROUPS] == [1, 2, 1, 3, 1]
    assert state['step_2.3.weight'].shape == (3, WIDTH, 1, 1)


@pytest.mark.parametrize('steps, newest', [((2, ), 'step_0'), (STEPS, 'step_2'), (tuple([1] * 11), 'step_10')])
def test_whose_a_parameter_is(steps, newest):
    module = StepHeads(WIDTH, sum(steps) + 2, steps)
    for name, _ in module.named_parameters():
        group = name.split('.')[0]
        expected = {'background': 'background', 'unknown': 'unknown', newest: 'new'}.get(group, 'old')
        assert module.group_of(name) == expected
    assert module.newest == newest


@pytest.mark.parametrize('channels', [6, 9])
def test_channels_that_do_not_fit_the_steps(channels):
    with pytest.raises(ValueError, match='steps of 6 classes and the background have 7 channels, with unknown 8, '
                                         f'but the decode head has {channels}'):
        StepHeads(WIDTH, channels, STEPS)


def test_heads_without_unknown():
    module = StepHeads(WIDTH, 7, STEPS)
    assert [name for name, _ in module.groups] == GROUPS[:-1] == [name for name, _ in module.named_children()]
    assert module(torch.randn(2, WIDTH, 4, 5)).shape == (2, 7, 4, 5)
    model = MODELS.build(model_of(encoder_decoder(), (2, ), unknown=False))
    assert model.reserved_rows == 0 and [name for name, _ in model.decode_head.conv_seg.groups] == GROUPS[:2]


def test_heads_without_unknown_do_not_inherit_from_it():
    old = StepHeads(WIDTH, 4, STEPS[:2]).state_dict()
    with pytest.raises(ValueError, match="new_rows: 'unknown' needs a model with an unknown class"):
        StepHeads(WIDTH, 7, STEPS).inherit(old, '', 'unknown')


def test_other_norm_layers():
    assert isinstance(heads(norm_cfg=dict(type='SyncBN')).unknown[1], nn.SyncBatchNorm)
    assert isinstance(heads(norm_cfg=dict(type='GN', num_groups=2)).background[1], nn.GroupNorm)


@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), dict(type='SyncBN'), dict(type='GN', num_groups=2)])
def test_initialisation_within_a_decode_head(norm_cfg):
    """The decode head initialises what is called conv_seg with a deviation of 0.01; it shall not last."""
    torch.manual_seed(0)
    config = extended_model(with_classes(encoder_decoder(), 5), 'sigmoid', dict(type='StepHeads', norm_cfg=norm_cfg), (2, 1))
    model = MODELS.build(config)
    initialise(model)
    for name, _ in model.decode_head.conv_seg.groups:
        first, norm, _, last = getattr(model.decode_head.conv_seg, name)
        assert torch.equal(norm.weight, torch.ones(8)) and torch.equal(norm.bias, torch.zeros(8))
        assert first.weight.std().item() == pytest.approx((2 / (9 * 8))**.5, rel=.15)  # Kaiming, by inputs
        assert last.weight.std() > .2 and torch.equal(last.bias, torch.zeros_like(last.bias))


@pytest.mark.parametrize('new_rows', ['unknown', 'copy_background'])
def test_the_newest_head_is_a_copy(new_rows):
    old, module = heads(STEPS[:2], seed=1), heads(seed=2)
    before = {f'net.{name}': value.clone() for name, value in old.state_dict().items()}
    found = module.inherit(dict(before), 'net.', new_rows)
    assert set(found) == {f'net.{name}' for name in module.state_dict()}
    assert all(torch.equal(found[name], value) for name, value in before.items())
    for name in HEAD:
        copy, source = found[f'net.step_2.{name}'], before[f"net.{new_rows.removeprefix('copy_')}.{name}"]
        assert copy.shape == module.state_dict()[f'step_2.{name}'].shape
        assert torch.equal(copy, source.expand(3, *source.shape[1:]) if name.startswith('3.') else source), name


def test_the_newest_head_stays_as_it_was_made():
    old, module = heads(STEPS[:2], seed=1).state_dict(), heads(seed=2)
    found = module.inherit(old, '', 'random')
    for name, value in found.items():
        expected = module.state_dict() if name.startswith('step_2.') else old
        assert torch.equal(value, expected[name]), name


def test_the_state_of_the_step_before_is_not_touched():
    old = heads(STEPS[:2], seed=1).state_dict()
    names = list(old)
    heads().inherit(old, '', 'unknown')
    assert list(old) == names


def test_an_unknown_source():
    with pytest.raises(ValueError, match="new_rows: got 'zeros'; StepHeads takes unknown, copy_background, random"):
        heads().inherit(heads(STEPS[:2]).state_dict(), '', 'zeros')


def student_of(folder, config, old_steps, new, new_rows, seed=5):
    """A student whose steps were ``old_steps``, and the state dict that it grew from."""
    torch.manual_seed(seed)
    teacher = MODELS.build(model_of(config, old_steps))
    initialise(teacher)
    spread(teacher.backbone)
    move(teacher, seed, .1)
    split = make_split(1 + sum(old_steps), new)
    path = hand_over(folder / 'step_0.pth', teacher, split.old)
    continual = dict(split=split.to_dict(), previous=str(path), teacher=None, new_rows=new_rows)
    student = MODELS.build(student_model(model_of(config, (*old_steps, new)), continual))
    fresh = {name: value.clone() for name, value in student.state_dict().items()}
    initialise(student)
    return student, teacher.state_dict(), fresh


@pytest.mark.parametrize('new_rows', ['unknown', 'copy_background', 'random'])
@pytest.mark.parametrize('name', ['FCN', 'ASPP', 'OCR'])
@pytest.mark.parametrize('old_steps', [(2, ), (2, 1)])
def test_a_model_grows_from_its_hand_over(tmp_path, name, old_steps, new_rows):
    """All that is old, background and unknown is the step before's; other heads grow by rows."""
    student, before, _ = student_of(tmp_path, MODEL_CONFIGS[name], old_steps, 3, new_rows)
    prefix = 'decode_head.1.conv_seg' if name == 'OCR' else 'decode_head.conv_seg'
    newest, rows = f'{prefix}.step_{len(old_steps)}', []
    for key, value in student.state_dict().items():
        if key.startswith(f'{newest}.'):
            source = before.get(key.replace(newest, f"{prefix}.{new_rows.removeprefix('copy_')}"))
            if source is not None:
                assert torch.equal(value, source.expand(value.shape)), key
        elif value.shape == before[key].shape:
            assert torch.equal(value, before[key]), key
        else:
            rows.append(key)
            old = 1 + sum(old_steps)
            assert torch.equal(value[1:old], before[key][1:old]) and torch.equal(value[-1], before[key][-1])
            if new_rows == 'unknown':
                assert torch.equal(value[old:], before[key][-1:].expand_as(value[old:]))
    others = {'FCN': [], 'ASPP': ['auxiliary_head'], 'OCR': ['decode_head.0']}[name]
    assert sorted(rows) == sorted(f'{one}.conv_seg.{kind}' for one in others for kind in ('weight', 'bias'))


def test_scores_of_new_classes_start_as_the_unknown_s(tmp_path):
    student, _, _ = student_of(tmp_path, encoder_decoder(), (2, ), 3, 'unknown')
    # In float64: a convolution to three channels may add up in another order than one to a single channel.
    embedding = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        found = student.double().eval().decode_head.conv_seg(embedding)
    assert found.shape[1] == 7 and found.std() > 0
    torch.testing.assert_close(found[:, 3:6], found[:, 6:].expand(-1, 3, -1, -1))


def test_random_heads_are_those_that_the_model_is_initialised_with(tmp_path):
    student, _, fresh = student_of(tmp_path, encoder_decoder(), (2, ), 3, 'random')
    newest = student.decode_head.conv_seg.step_1
    assert torch.equal(newest[1].weight, torch.ones(8)) and newest[1].running_mean.eq(0).all()
    assert not torch.equal(newest[0].weight, fresh['decode_head.conv_seg.step_1.0.weight'])  # before initialisation
    assert not torch.equal(newest[0].weight, student.decode_head.conv_seg.unknown[0].weight)
    assert newest[0].weight.std().item() == pytest.approx((2 / (9 * 8))**.5, rel=.15)
