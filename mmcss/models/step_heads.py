"""SSUL's classifier as its authors released it: a small head for each step."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..arguments import Checked, Count
from .growing import GrowingModule

# The head that a new step's copies, by ``new_rows``; None for none.
SOURCES = {'unknown': 'unknown', 'copy_background': 'background', 'random': None}


@MODELS.register_module()
class StepHeads(Checked, GrowingModule, BaseModule):
    """A 3x3 convolution, norm, ReLU and 1x1 convolution for the background, each step, and unknown.

    Replaces a decode head's classifier; channels are in learning order,
    unknown last. Checkpoints need mmcss to load.
    Source: https://github.com/clovaai/SSUL (the paper has a 1x1 filter for
    each class).

    Args:
        in_channels: Channels of the embedding.
        num_classes: Background, classes and, if there is any, unknown.
        steps: Number of foreground classes of each step so far.
        norm_cfg: Config of the norm layers.
        init_cfg: See BaseModule.
    """

    def __init__(self, in_channels: Count, num_classes: Count, steps: Sequence[Count],
                 norm_cfg: Optional[Mapping[str, Any]] = None,
                 init_cfg: Optional[Union[Mapping[str, Any], List[Mapping[str, Any]]]] = None) -> None:
        super().__init__(init_cfg or [
            dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
            dict(type='Constant', layer=['_BatchNorm', 'SyncBatchNorm', 'GroupNorm', 'LayerNorm'], val=1)])
        reserved = num_classes - sum(steps) - 1
        if reserved not in (0, 1):
            raise ValueError(f'StepHeads: steps of {sum(steps)} classes and the background have {sum(steps) + 1} channels, '
                             f'with unknown {sum(steps) + 2}, but the decode head has {num_classes}.')
        self.in_channels = in_channels
        self.groups = [('background', 1), *((f'step_{i}', number) for i, number in enumerate(steps))]
        self.groups += [('unknown', 1)] * reserved
        self.newest = f'step_{len(steps) - 1}'
        for name, number in self.groups:
            self.add_module(name, self._head(number, dict(norm_cfg or dict(type='BN'))))

    def _head(self, number: int, norm_cfg: Dict[str, Any]) -> nn.Sequential:
        width = self.in_channels
        return nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            build_norm_layer(norm_cfg, width)[1],
            nn.ReLU(inplace=True),
            nn.Conv2d(width, number, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, num_classes, h, w]`` logits of an embedding ``[N, in_channels, h, w]``."""
        return torch.cat([getattr(self, name)(x) for name, _ in self.groups], dim=1)

    def group_of(self, name: str) -> str:
        group = name.partition('.')[0]
        if group in ('background', 'unknown'):
            return group
        return 'new' if group == self.newest else 'old'

    def inherit(self, old: Mapping[str, Tensor], prefix: str, new_rows: str) -> Dict[str, Tensor]:
        """Copy the head of :data:`SOURCES` for the newest step, with the statistics of its norm."""
        if new_rows not in SOURCES:
            raise ValueError(f'continual.new_rows: got {new_rows!r}; StepHeads takes {", ".join(SOURCES)}.')
        state, source = dict(old), SOURCES[new_rows]
        if source is not None and not hasattr(self, source):
            raise ValueError("continual.new_rows: 'unknown' needs a model with an unknown class (continual.unknown).")
        for name, tensor in getattr(self, self.newest).state_dict().items():
            # A missing head is an error when the state is loaded.
            start = tensor if source is None else old.get(f'{prefix}{source}.{name}', tensor)
            # The last convolution has a row for each class.
            state[f'{prefix}{self.newest}.{name}'] = start.expand(tensor.shape) if start.dim() else start
        return state
