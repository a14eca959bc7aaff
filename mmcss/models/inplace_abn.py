"""The network of MiB and PLOP, with ordinary batch norms.

Their code uses in-place activated batch norm (Rota Bulo et al., CVPR 2018): a
leaky ReLU after each norm, whose scale is ``|weight| + eps``. With this scale
as weight (:func:`convert_state_dict`) an ordinary norm gives the same numbers.

Authors' code: https://github.com/mapillary/inplace_abn,
https://github.com/arthurdouillard/CVPR2021_PLOP
"""
from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Optional, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.backbones import ResNet
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

EPS = 1e-5  # of the norms, and in their scale


@MODELS.register_module()
class LeakyResNet(ResNet):
    """MMSegmentation's ResNet with leaky ReLUs of slope ``negative_slope`` below 0."""

    def __init__(self, *args: Any, negative_slope: float = 0.01, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for module in list(self.modules()):
            if isinstance(getattr(module, 'relu', None), nn.ReLU):
                module.relu = nn.LeakyReLU(negative_slope, inplace=True)


@MODELS.register_module()
class SharedNormASPPHead(BaseDecodeHead):
    """The DeepLabV3 head of MiB's and PLOP's code.

    The outputs of four convolutions are concatenated, normalised together and
    projected; projected features of the whole image are added, and the sum is
    normalised. This is the embedding.

    Args:
        dilations: Of the 3 x 3 convolutions, besides a 1 x 1 convolution.
        pooling: Height and width of the window that replaces the whole image
            in evaluation; None for all of it, as in training. The authors' 32
            is all of a 512 x 512 image.
        negative_slope: Slope of the leaky ReLUs below 0.
        kwargs: Those of BaseDecodeHead.
    """

    def __init__(self, dilations: Sequence[int] = (6, 12, 18), pooling: Optional[int] = 32,
                 negative_slope: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**dict(dict(dropout_ratio=0, init_cfg=None), **kwargs))
        self.pooling = pooling
        self.negative_slope = negative_slope
        width = self.channels
        self.branches = nn.ModuleList([nn.Conv2d(self.in_channels, width, 1, bias=False)])
        for dilation in dilations:
            self.branches.append(
                nn.Conv2d(self.in_channels, width, 3, padding=dilation, dilation=dilation, bias=False))
        self.branches_norm = self._norm(width * len(self.branches))
        self.project = nn.Conv2d(width * len(self.branches), width, 1, bias=False)
        self.image_conv = nn.Conv2d(self.in_channels, width, 1, bias=False)
        self.image_norm = self._norm(width)
        self.image_project = nn.Conv2d(width, width, 1, bias=False)
        self.norm = self._norm(width)

    def _norm(self, channels: int) -> nn.Module:
        return build_norm_layer(self.norm_cfg, channels)[1]

    def init_weights(self) -> None:
        """Xavier for the head, PyTorch's own for the classifier."""
        super().init_weights()
        gain = nn.init.calculate_gain('leaky_relu', self.negative_slope)
        classifier = set(self.conv_seg.modules())  # a replacement has its own initialisation
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in classifier:
                nn.init.xavier_normal_(module.weight, gain)
        if isinstance(self.conv_seg, nn.Conv2d):
            self.conv_seg.reset_parameters()

    def _activate(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def _image_features(self, x: Tensor) -> Tensor:
        """Means over the image, or over a window around each position."""
        if self.training or self.pooling is None or self.pooling >= max(x.shape[2:]):
            return x.mean(dim=(2, 3), keepdim=True)
        window = [min(self.pooling, size) for size in x.shape[2:]]
        before = [(size - 1) // 2 for size in window]
        after = [size - 1 - pad for size, pad in zip(window, before)]
        return F.pad(F.avg_pool2d(x, window, stride=1), (before[1], after[1], before[0], after[0]), mode='replicate')

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """``[N, C, h, w]`` logits."""
        x = self._transform_inputs(inputs)
        branches = self._activate(self.branches_norm(torch.cat([branch(x) for branch in self.branches], dim=1)))
        image = self._activate(self.image_norm(self.image_conv(self._image_features(x))))
        return self.cls_seg(self._activate(self.norm(self.project(branches) + self.image_project(image))))


NAMES = (
    (r'^module\.', ''),
    (r'^mod1\.(conv1|bn1)\.', r'\1.'),
    (r'^mod(\d)\.block(\d+)\.', lambda match: f'layer{int(match[1]) - 1}.{int(match[2]) - 1}.'),
    (r'\.convs\.', '.'),
    (r'\.proj_conv\.', '.downsample.0.'),
    (r'\.proj_bn\.', '.downsample.1.'),
)


def convert_state_dict(state: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Tensors of an InPlace-ABN ResNet under the names of :class:`LeakyResNet`, without the classifier of ImageNet.

    Args:
        state: State dict of https://github.com/mapillary/inplace_abn, as in
            ``resnet101_iabn_sync.pth.tar``.

    Raises:
        ValueError: It has a name that such a network lacks.
    """
    converted = {}
    for name, tensor in state.items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if name.startswith(('classifier.', 'fc.')):
            continue
        if not re.match(r'(conv1|bn1|layer[1-4]\.\d+\.(conv\d|bn\d|downsample\.[01]))\.', name):
            raise ValueError(f'{name} belongs to no ResNet of inplace_abn.')
        if re.search(r'(bn\d|downsample\.1)\.weight$', name):
            tensor = tensor.abs() + EPS
        converted[name] = tensor
    return converted
