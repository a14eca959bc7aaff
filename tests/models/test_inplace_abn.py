"""The papers' network, against its formulas written with torch's functions."""
import copy
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import MODELS

from mmcss.models import CosineClassifier, StepHeads
from mmcss.models.inplace_abn import LeakyResNet, SharedNormASPPHead, convert_state_dict
from mmcss.models.taps import watch_features
from mmcss.parts import Needs
from tests import processes
from tests.models.makers import initialise

ROOT = Path(__file__).resolve().parents[2]


def leaky(x):
    return torch.where(x > 0, x, .01 * x)


def abn(x, state, name, activate=True):
    """In-place activated batch norm in evaluation: its scale is |weight| + eps."""
    shape = (1, -1, 1, 1)
    mean, var, weight, bias = (state[f'{name}.{key}'].view(shape) for key in
                               ('running_mean', 'running_var', 'weight', 'bias'))
    y = (x - mean) / (var + 1e-5).sqrt() * (weight.abs() + 1e-5) + bias
    return leaky(y) if activate else y


def their_stages(x, state, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)):
    """Stage outputs before and after the last activation, from their names of tensors."""
    x = F.conv2d(x, state['mod1.conv1.weight'], stride=2, padding=3)
    x = F.max_pool2d(abn(x, state, 'mod1.bn1'), 3, 2, 1)
    before, after = [], []
    for stage in range(4):
        for block in range(3 + (stage == 1) + 3 * (stage == 2)):
            name = f'mod{stage + 2}.block{block + 1}'
            stride, dilation = strides[stage] if block == 0 else 1, dilations[stage]
            y = abn(F.conv2d(x, state[f'{name}.convs.conv1.weight']), state, f'{name}.convs.bn1')
            y = F.conv2d(y, state[f'{name}.convs.conv2.weight'], stride=stride, padding=dilation, dilation=dilation)
            y = F.conv2d(abn(y, state, f'{name}.convs.bn2'), state[f'{name}.convs.conv3.weight'])
            y = abn(y, state, f'{name}.convs.bn3', activate=False)
            if block == 0:
                x = abn(F.conv2d(x, state[f'{name}.proj_conv.weight'], stride=stride), state, f'{name}.proj_bn', False)
            before.append(x + y)
            x = leaky(x + y)
        before[stage:] = before[-1:]
        after.append(x)
    return before, after


def leaky_resnet():
    return LeakyResNet(depth=50, base_channels=4, stem_channels=4, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2),
                       contract_dilation=False, norm_cfg=dict(type='BN'))


def their_state(seed=0):
    """Random tensors of such a network under their names; norm weights of both signs."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, tensor in leaky_resnet().state_dict().items():
        name = re.sub(r'^(conv1|bn1)', r'mod1.\1', name)
        name = re.sub(r'^layer(\d)\.(\d+)\.', lambda f: f'mod{int(f[1]) + 1}.block{int(f[2]) + 1}.', name)
        name = re.sub(r'(block\d+)\.(conv|bn)', r'\1.convs.\2', name)
        name = name.replace('downsample.0', 'proj_conv').replace('downsample.1', 'proj_bn')
        if name.endswith('num_batches_tracked'):
            continue
        state[name] = torch.randn(tensor.shape, generator=generator) * (
            math.sqrt(2 / tensor[0].numel()) if tensor.dim() == 4 else .5)
        if name.endswith('running_var'):
            state[name] = state[name].abs() + .5
    return state


def ours(state):
    model = leaky_resnet()
    missing, unexpected = model.load_state_dict(convert_state_dict(state), strict=False)
    assert not unexpected and all(name.endswith('num_batches_tracked') for name in missing)
    model.eval()
    return model


@torch.no_grad()
def test_converted_weights_give_the_same_features():
    state, images = their_state(), torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    backbone = ours({f'module.{name}': tensor for name, tensor in state.items()})
    segmentor = torch.nn.Module()
    segmentor.backbone = backbone
    with watch_features(segmentor, Needs(stages=True, backbone_output=True)) as seen:
        outputs = backbone(images)
    before, after = their_stages(images, state)
    for found, expected in zip((*outputs, *seen.stages, seen.backbone_output), (*after, *before, after[-1]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert min(stage.min() for stage in outputs) < -1e-3  # leaky


def test_conversion_takes_the_magnitude_of_norm_weights_alone():
    state = their_state()
    converted = convert_state_dict(dict(state, **{'classifier.fc.weight': torch.zeros(2, 2)}))
    assert len(converted) == len(state)
    for ours_name, their_name, norm in (('bn1', 'mod1.bn1', True), ('layer2.0.bn3', 'mod3.block1.convs.bn3', True),
                                        ('layer4.0.downsample.1', 'mod5.block1.proj_bn', True),
                                        ('layer3.5.conv2', 'mod4.block6.convs.conv2', False)):
        weight = state[f'{their_name}.weight']
        assert weight.min() < 0
        assert torch.equal(converted[f'{ours_name}.weight'], weight.abs() + 1e-5 if norm else weight)
    assert torch.equal(converted['bn1.bias'], state['mod1.bn1.bias'])


def test_names_of_another_network():
    with pytest.raises(ValueError, match='features.0.weight belongs to no ResNet'):
        convert_state_dict({'features.0.weight': torch.zeros(1)})


def test_the_tool(tmp_path):
    torch.save(dict(epoch=90, state_dict=their_state()), tmp_path / 'in.pth.tar')
    done = processes.call(ROOT / 'tools' / 'convert_inplace_abn.py', tmp_path / 'in.pth.tar', tmp_path / 'out.pth')
    assert done.returncode == 0, done.stderr
    backbone = MODELS.build(dict(
        type='LeakyResNet', depth=50, base_channels=4, stem_channels=4,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'out.pth'))))
    initialise(backbone)
    state = their_state()
    assert torch.equal(backbone.layer4[2].conv1.weight, state['mod5.block3.convs.conv1.weight'])
    assert torch.equal(backbone.bn1.weight, state['mod1.bn1.weight'].abs() + 1e-5)


def head(**changes):
    torch.manual_seed(0)
    options = dict(in_channels=6, channels=4, num_classes=3, dilations=(1, 2), norm_cfg=dict(type='BN'))
    model = SharedNormASPPHead(**dict(options, **changes))
    initialise(model)
    for name, tensor in model.state_dict().items():
        if 'norm' in name and tensor.dtype.is_floating_point:
            tensor.uniform_(.3, 1.5)
    return model


def their_head(x, state, image):
    """The head's formulas in evaluation, for features of the image given."""

    def norm(x, name):
        return abn(x, dict(state), name)

    parts = [F.conv2d(x, state['branches.0.weight']), F.conv2d(x, state['branches.1.weight'], padding=1),
             F.conv2d(x, state['branches.2.weight'], padding=2, dilation=2)]
    x = F.conv2d(norm(torch.cat(parts, dim=1), 'branches_norm'), state['project.weight'])
    image = F.conv2d(norm(F.conv2d(image, state['image_conv.weight']), 'image_norm'), state['image_project.weight'])
    embedding = norm(x + image, 'norm')
    return F.conv2d(embedding, state['conv_seg.weight'], state['conv_seg.bias'])


@torch.no_grad()
@pytest.mark.parametrize('size', [(5, 7), (9, 12)])
def test_head_in_evaluation(size):
    """A window of 8: all of a smaller map, local means of a larger one."""
    model, x = head(pooling=8).eval(), torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(1))
    state = {name: tensor - 1e-5 if name.endswith('norm.weight') else tensor
             for name, tensor in model.state_dict().items()}
    image = torch.empty_like(x)
    for i in range(size[0]):
        for j in range(size[1]):
            top, left = (min(max(at - 3, 0), max(side - 8, 0)) for at, side in zip((i, j), size))
            image[:, :, i, j] = x[:, :, top:top + 8, left:left + 8].mean(dim=(2, 3))
    torch.testing.assert_close(model([x]), their_head(x, state, image), rtol=1e-4, atol=1e-5)


def test_head_in_training_sees_the_whole_image_and_learns():
    model, x = head(pooling=2), torch.randn(2, 6, 5, 7)
    calls = []
    model.image_conv.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape))
    model([x]).sum().backward()
    assert calls == [(2, 6, 1, 1)]
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.dropout is None


def test_without_a_window_evaluation_sees_the_whole_image():
    model, x = head(pooling=None).eval(), torch.randn(2, 6, 40, 50)
    calls = []
    model.image_conv.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0]))
    model([x])
    torch.testing.assert_close(calls[0], x.mean(dim=(2, 3), keepdim=True))


def test_head_s_start():
    """Xavier with the leaky ReLU's gain for the head, PyTorch's own for the classifier."""
    model = head(in_channels=256, channels=128, num_classes=200)
    gain = math.sqrt(2 / (1 + .01**2))
    for module, fans in ((model.project, 4 * 128), (model.branches[0], 256 + 128)):
        assert module.weight.std().item() == pytest.approx(gain * math.sqrt(2 / fans), rel=.03)
    assert model.conv_seg.weight.abs().max().item() == pytest.approx(1 / math.sqrt(128), rel=.01)


@pytest.mark.parametrize('classifier', [CosineClassifier(8, 3), StepHeads(8, 3, [2])], ids=lambda c: type(c).__name__)
def test_a_classifier_that_took_the_convolution_s_place_starts_by_itself(classifier):
    model = head()
    model.conv_seg, before = classifier, copy.deepcopy(classifier.state_dict())
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert model.project.weight.std() > 0


def test_the_papers_model_builds():
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / 'deeplabv3_r101_inplace_abn.py')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    assert (model.decode_head.branches_norm.num_features, model.backbone.deep_stem) == (1024, False)
    assert sum(isinstance(module, torch.nn.ReLU) for module in model.backbone.modules()) == 0
