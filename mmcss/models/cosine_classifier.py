"""Classifiers that compare directions."""
from __future__ import annotations

from typing import Any, List, Mapping, Optional, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..arguments import Checked, Count, Positive
from .growing import GrowingModule


@MODELS.register_module()
class CosineClassifier(Checked, GrowingModule, BaseModule):
    """Logits are scaled cosines between the embedding and a vector for each class.

    Online EM (Yan et al., ACM MM 2021, section 3.2). Replaces a decode head's
    1x1 convolution. Checkpoints need mmcss to load.

    Args:
        in_channels: Channels of the embedding, D.
        num_classes: Channels of the result, C.
        scale: Factor on the cosine.
        init_cfg: See BaseModule.
    """

    def __init__(self, in_channels: Count, num_classes: Count, scale: Positive = 12.0,
                 init_cfg: Optional[Union[Mapping[str, Any], List[Mapping[str, Any]]]] = None) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, in_channels, 1, 1))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]`` logits, within ``scale`` of 0, of an embedding ``[N, D, h, w]``."""
        return self.scale * F.conv2d(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))
