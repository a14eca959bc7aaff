import copy
from contextlib import ExitStack

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.backbones import SwinTransformer, VisionTransformer

from mmcss.models import predict, watch_training
from mmcss.models.attention import tap_attention, whole_map
from mmcss.models.taps import watch_features
from mmcss.parts import Needs
from tests.models.makers import (build, encoder_decoder, images, labels, samples, segformer, student_and_teacher,
                                 with_classes)
from tests.models.test_taps import state_of

pytestmark = [
    pytest.mark.filterwarnings('ignore:torch.utils.checkpoint'),
    pytest.mark.filterwarnings('ignore:``build_pixel_sampler``'),
]

ATTENTION = Needs(attention=True)


def mit(**changes):
    config = copy.deepcopy(segformer())
    config['backbone'].update(changes)
    return build(with_classes(config, 4))


def swin(**changes):
    torch.manual_seed(0)
    options = dict(embed_dims=8, depths=(1, 2), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1), window_size=3)
    model = SwinTransformer(**dict(options, **changes))
    for stage in model.stages:  # a bias of its own for each pair of positions
        for block in stage.blocks:
            torch.nn.init.normal_(block.attn.w_msa.relative_position_bias_table)
    return model


def vit(**changes):
    torch.manual_seed(0)
    options = dict(img_size=(32, 32), patch_size=8, embed_dims=8, num_layers=3, num_heads=2, out_indices=(0, 2))
    return VisionTransformer(**dict(options, **changes))


class Holder(torch.nn.Module):
    """A segmentor of a backbone alone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


def attention_of(backbone, inputs):
    with watch_features(Holder(backbone), ATTENTION) as seen:
        outputs = backbone(inputs)
    return seen.attention, outputs


@pytest.mark.parametrize('size', [(64, 64), (48, 80)])
@pytest.mark.parametrize('training', [False, True])
def test_each_stage_of_a_mix_transformer(size, training):
    model = mit(drop_path_rate=.3, num_layers=[2, 1, 1, 1]).train(training)
    found, outputs = attention_of(model.backbone, images(size=size))
    for number, (attention, output) in enumerate(zip(found, outputs)):
        heads = (1, 2, 4, 8)[number]
        assert attention.grid == tuple(output.shape[2:])
        number_of_cells = attention.grid[0] * attention.grid[1]
        assert attention.weights.shape[:3] == (2, heads, number_of_cells)
        torch.testing.assert_close(attention.weights.sum(dim=3), torch.ones(2, heads, number_of_cells))
        assert attention.weights.requires_grad
    assert [one.grid for one in found[:2]] == [(size[0] // 4, size[1] // 4), (size[0] // 8, size[1] // 8)]


def test_weights_of_a_mix_transformer_are_those_of_queries_and_keys():
    """Of the last block of stage 2, computed by hand: 2 heads, keys of a map half as high and wide."""
    model = mit(num_layers=[1, 2, 1, 1], sr_ratios=[8, 2, 2, 1]).eval()
    block, given = model.backbone.layers[1][1][-1], []
    handle = block.register_forward_pre_hook(lambda module, inputs: given.append(inputs))
    found, _ = attention_of(model.backbone, images(size=(48, 80)))
    handle.remove()
    (x, grid), attention = given[0], block.attn
    x = block.norm1(x)
    keys = attention.norm(attention.sr(x.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2))
    weight, bias = (value.chunk(3) for value in (attention.attn.in_proj_weight, attention.attn.in_proj_bias))
    q, k = (F.linear(y, weight[i], bias[i]).unflatten(2, (2, 8)).transpose(1, 2) for i, y in ((0, x), (1, keys)))
    expected = (q @ k.transpose(2, 3) / 8**.5).softmax(dim=3)
    assert found[1].grid == tuple(grid) == (6, 10) and found[1].weights.shape == (2, 2, 60, 15)
    torch.testing.assert_close(found[1].weights, expected)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('make', [lambda: mit(drop_path_rate=.3).backbone, swin, vit])
def test_a_tapped_backbone_gives_the_same_bit_by_bit(make, training):
    backbone, results = make(), []
    backbone.train(training)  # some return nothing
    for tapped in (False, True):
        torch.manual_seed(5)
        inputs = images().requires_grad_()
        outputs = attention_of(backbone, inputs)[1] if tapped else backbone(inputs)
        sum(output.square().sum() for output in outputs).backward()
        results.append([*outputs, inputs.grad])
    assert all(torch.equal(a, b) for a, b in zip(*results))
    backbone.eval()
    with torch.no_grad():
        before = backbone(images())
        assert all(torch.equal(a, b) for a, b in zip(before, attention_of(backbone, images())[1]))


@pytest.mark.parametrize('make', [lambda **options: mit(**options).backbone, swin, vit])
def test_checkpointed_blocks_give_their_gradient(make):
    found = []
    for with_cp in (False, True):
        backbone, inputs = make(with_cp=with_cp), images().requires_grad_()
        attention, outputs = attention_of(backbone, inputs)
        assert [module.with_cp for module in backbone.modules() if hasattr(module, 'with_cp')].count(not with_cp) == 0
        (sum(one.weights.square().sum() for one in attention) + outputs[-1].sum()).backward()
        found.append(inputs.grad)
    torch.testing.assert_close(*found)


def test_nothing_is_left_behind():
    model = mit()
    before = state_of(model)
    with watch_features(model, ATTENTION):
        model.backbone(images())
        assert state_of(model) != before
    assert state_of(model) == before
    with watch_features(model, Needs(stages=True, embedding=True)) as seen:
        model.backbone(images())
    assert seen.attention == []


def brute_force_windows(weights, grid, window, shift):
    """The row of each cell, one after another."""
    rows, columns = (-(-size // window) for size in grid)
    found = torch.zeros(1, weights.shape[1], grid[0] * grid[1], window**2)
    for i in range(grid[0]):
        for j in range(grid[1]):
            y, x = (i - shift) % (rows * window), (j - shift) % (columns * window)  # after the roll
            number = y // window * columns + x // window
            found[0, :, i * grid[1] + j] = weights[number, :, y % window * window + x % window]
    return found


@pytest.mark.parametrize('shift', [0, 1])
@pytest.mark.parametrize('grid', [(6, 6), (4, 5)])
def test_windows_in_the_order_of_the_map(grid, shift):
    """Maps of 4 x 5 are padded to 6 x 6."""
    weights = torch.rand(8, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    found = whole_map(weights, grid, 3, shift)
    for n in range(2):
        assert torch.equal(found[n:n + 1], brute_force_windows(weights[4 * n:4 * n + 4], grid, 3, shift))


def test_each_stage_of_a_swin_transformer():
    """What windows attend to, put in order as the backbone does with its values."""
    backbone = swin(drop_path_rate=0.)
    block, values = backbone.stages[1].blocks[-1].attn, []
    assert block.shift_size == 1
    block.w_msa.proj = torch.nn.Identity()
    handles = [block.w_msa.qkv.register_forward_hook(lambda module, inputs, output: values.append(output)),
               block.register_forward_hook(lambda module, inputs, output: values.append(output))]
    found, outputs = attention_of(backbone, images(number=1, size=(32, 40)))
    for handle in handles:
        handle.remove()
    assert [one.grid for one in found] == [tuple(output.shape[2:]) for output in outputs] == [(8, 10), (4, 5)]
    assert [tuple(one.weights.shape) for one in found] == [(1, 1, 80, 9), (1, 2, 20, 9)]
    torch.testing.assert_close(found[1].weights.sum(dim=3), torch.ones(1, 2, 20))
    # Each cell's output is its row times the values of its window.
    v = values[0][..., 16 * 2:].unflatten(2, (2, 8)).transpose(1, 2)  # [windows, heads, keys, 8]
    for cell in range(20):
        y, x = (cell // 5 - 1) % 6, (cell % 5 - 1) % 6
        expected = torch.einsum('hk,hkd->hd', found[1].weights[0, :, cell], v[y // 3 * 2 + x // 3]).flatten()
        torch.testing.assert_close(values[1][0, cell], expected)


@pytest.mark.parametrize('with_cls_token', [True, False])
def test_layers_of_a_plain_vision_transformer(with_cls_token):
    """One stage for each output; the class token is a key, and no cell."""
    backbone = vit(with_cls_token=with_cls_token)
    kept = []
    handle = backbone.layers[2].attn.attn.register_forward_hook(lambda module, inputs, output: kept.append(output))
    found, outputs = attention_of(backbone, images(size=(32, 48)))
    handle.remove()
    assert [one.grid for one in found] == [tuple(output.shape[2:]) for output in outputs] == [(4, 6)] * 2
    assert found[0].weights.shape == (2, 2, 24, 24 + with_cls_token)
    assert torch.equal(found[1].weights, kept[0][1][:, :, int(with_cls_token):])
    assert not torch.equal(found[0].weights, found[1].weights)


def test_student_and_teacher_give_theirs(tmp_path):
    """The student's with gradient, in training; the teacher's without."""
    student, teacher = student_and_teacher(tmp_path, segformer(), 3, 1)
    inputs, data = images(size=(64, 64)), samples(labels([0, 3, 255], size=(64, 64)))
    student.train()
    with watch_training(student, ATTENTION, (64, 64), None) as seen:
        student.loss(inputs, data)
    new, old = seen.prediction((64, 64), False), student.teacher.predict(inputs, (64, 64), ATTENTION)
    expected = predict(teacher, inputs, (64, 64), ATTENTION)
    assert len(new.attention) == len(old.attention) == 4
    for one, other, plain in zip(new.attention, old.attention, expected.attention):
        assert one.weights.requires_grad and not other.weights.requires_grad
        assert one.weights.shape == other.weights.shape and one.grid == other.grid
        torch.testing.assert_close(other.weights, plain.weights)
    sum(one.weights.square().sum() for one in new.attention).backward()
    assert student.backbone.layers[3][1][-1].attn.attn.in_proj_weight.grad.any()


def test_mixed_precision():
    model = mit().eval()
    with torch.autocast('cpu', torch.bfloat16):
        found, _ = attention_of(model.backbone, images())
    expected, _ = attention_of(model.backbone, images())
    for one, other in zip(found, expected):
        assert one.weights.requires_grad
        torch.testing.assert_close(one.weights.float(), other.weights, rtol=.05, atol=5e-3)


def test_other_backbones_are_refused():
    model = build(with_classes(encoder_decoder(), 4))
    message = 'attention of ResNetV1c is not known; use one of MixVisionTransformer, SwinTransformer, VisionTransformer'
    with pytest.raises(ValueError, match=message), watch_features(model, ATTENTION):
        pass


def test_dropout_on_attention_is_refused():
    with pytest.raises(ValueError, match='attention dropout of 0.1.*attn_drop_rate=0'), ExitStack() as stack:
        tap_attention(mit(attn_drop_rate=.1).backbone, stack)
    # Swin's is read before it.
    backbone = swin(attn_drop_rate=.5)
    assert backbone.training
    torch.testing.assert_close(attention_of(backbone, images())[0][0].weights.sum(dim=3), torch.ones(2, 1, 64))


def test_the_list_is_filled_by_the_next_pass():
    backbone = vit()
    with ExitStack() as stack:
        kept = tap_attention(backbone, stack)
        assert kept == [None, None]
        backbone(images())
        assert all(one.grid == (4, 4) for one in kept)
