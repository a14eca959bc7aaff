"""Attention that SATS compares, against that of NVIDIA's network (see data/README.md)."""
import math

import pytest
import torch
from mmseg.models.backbones import MixVisionTransformer

from mmcss.models.taps import watch_features
from mmcss.parts import Needs
from tests.parity.test_golden import load

SIZE, HEADS = (64, 96), (1, 2, 5, 8)


def noise(shape, seed):
    """Values in (-1, 1) that look like chance, and are the same everywhere."""
    position = torch.arange(math.prod(shape), dtype=torch.float64)
    return ((12.9898 * position + seed).sin() * 43758.5453).frac().reshape(shape)


def value_of(name, like, seed):
    values = noise(like.shape, seed)
    if like.dim() > 1:  # steep enough for attention that is far from even
        return values * math.sqrt(3 / like[0].numel()) * (2 if 'in_proj' in name else 1)
    return .2 * values + (1 if name.endswith('.weight') else 0)


class Network(torch.nn.Module):
    """MiT-B0 with weights in closed form."""

    def __init__(self):
        super().__init__()
        self.backbone = MixVisionTransformer(embed_dims=32, num_heads=HEADS, num_layers=(2, 2, 2, 2)).eval()
        for name, module in self.backbone.named_modules():  # NVIDIA's epsilon, where the stock network has 1e-6
            if name.endswith(('0.norm', 'attn.norm')):
                module.eps = 1e-5
        values = {name: value_of(name, value, number).float()
                  for number, (name, value) in enumerate(self.backbone.state_dict().items())}
        self.backbone.load_state_dict(values)


@pytest.fixture(scope='module')
def attention():
    """Of the same float32 weights and image, in float64: in float32 it differs from processor to processor."""
    network = Network().double()
    with watch_features(network, Needs(attention=True)) as seen:
        network.backbone(noise((1, 3, *SIZE), .5).float().double())
    return seen.attention


@pytest.mark.parametrize('stage', range(4))
def test_last_block_of_a_stage(attention, stage):
    golden = load('mit_attention')[f'stage{stage}']
    side = 4 * 2**stage
    assert attention[stage].grid == (SIZE[0] // side, SIZE[1] // side)
    assert attention[stage].weights.shape == golden.shape == (1, HEADS[stage], SIZE[0] * SIZE[1] // side**2, 6)
    # Theirs are float32, up to 7.7e-6 off what float64 gives.
    torch.testing.assert_close(attention[stage].weights.detach(), golden.double(), rtol=0, atol=1e-5)
