"""iCaRL's classifier: nearest mean of exemplars."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..arguments import Checked, Count
from .growing import GrowingModule


@MODELS.register_module()
class NearestMean(Checked, GrowingModule, nn.Conv2d):
    """A 1x1 convolution in training, the nearest class mean in prediction.

    iCaRL (Rebuffi et al., CVPR 2017, algorithm 1), for each cell of the
    embedding: embeddings and means have length 1, so that the nearest mean is
    that of the greatest cosine. The means are those of the remembered images
    at the end of each step. Replaces a decode head's 1x1 convolution.
    Checkpoints need mmcss to load.

    Args:
        in_channels: Channels of the embedding, D.
        num_classes: Channels of the result, C.

    Attributes:
        means: ``[C, D, 1, 1]``; 0 for a class without remembered images,
            which is never predicted.
    """

    means: Tensor

    def __init__(self, in_channels: Count, num_classes: Count) -> None:
        super().__init__(in_channels, num_classes, kernel_size=1)
        self.register_buffer('means', torch.zeros(num_classes, in_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]`` logits, or cosines, of an embedding ``[N, D, h, w]``."""
        if not self.predicting:
            return super().forward(x)
        unknown = (self.means == 0).all(dim=1)[None]
        # Below every cosine, and finite, so that it can be upsampled.
        return F.conv2d(F.normalize(x, dim=1), self.means.to(x.dtype)).masked_fill(unknown, -2.0)
