"""Inputs of the published test vectors, and a student whose features and logits are those."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Tuple

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmcss.engine import build_scenario, step_config
from mmcss.models import ContinualEncoderDecoder
from mmcss.parts import Prediction
from tests.tiny import tiny_config

METHODS = Path(__file__).parents[2] / 'configs' / '_base_' / 'methods'
OLD_LOGITS, NEW_LOGITS = ((2, 3, 4, 4), 1.1, -.4, 3), ((2, 5, 4, 4), .7, .3, 2)
OLD_FEATURES = (((2, 3, 8, 8), .37, .10, 1.5), ((2, 4, 4, 4), .23, .5, 1))
NEW_FEATURES = (((2, 3, 8, 8), .37, .15, 1.5), ((2, 4, 4, 4), .23, .6, 1))


def wave(shape: Tuple[int, ...], a: float, b: float, scale: float) -> Tensor:
    """``scale * sin(a n + b)`` over the linear index n, in float64."""
    n = torch.arange(np.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(a * n + b)).reshape(shape)


def labels() -> Tensor:
    """``[2, 16, 16]`` labels: background, the new classes 3 and 4, ignored pixels."""
    first, second = torch.zeros(2, 16, 16, dtype=torch.long)
    first[0:4, 0:4] = 3
    first[4:8, 0:2] = 4
    first[15] = 255
    second[0:8] = 4
    second[8] = 255
    return torch.stack((first, second))


def data_samples() -> list:
    """The labels as data samples."""
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels()]


@MODELS.register_module()
class WaveBackbone(nn.Module):
    """Returns the first feature map, or the second one."""

    def __init__(self, returns: int = 0) -> None:
        super().__init__()
        self.returns = returns

    def forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        return (wave(*NEW_FEATURES[self.returns]), )


@MODELS.register_module()
class WaveHead(BaseDecodeHead):
    """Its logits are a parameter, its embedding is the second feature map."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logits = nn.Parameter(wave(*NEW_LOGITS))

    def forward(self, inputs: Any) -> Tensor:
        self.conv_seg(wave(*NEW_FEATURES[1]).float())
        return self.logits


class WaveTeacher:
    """Stands in the place of the frozen teacher."""

    def predict(self, inputs: Tensor, size: Tuple[int, int], needs: Any) -> Prediction:
        stage, embedding = (wave(*spec) for spec in OLD_FEATURES)
        return Prediction(wave(*OLD_LOGITS), size, stages=(stage, ), backbone_output=embedding, embedding=embedding)


def official_student(method: str, returns: int = 0, **settings: Any) -> ContinualEncoderDecoder:
    """The student of step 1 (3 old, 2 new classes) as the method's own config makes it in the official profile."""
    cfg = tiny_config(Path('data'), Path('work_dir'), continual={}, scenario=dict(base=2, increment=2))
    cfg.merge_from_dict(Config.fromfile(METHODS / f'{method}.py')._cfg_dict.to_dict())
    cfg.merge_from_dict(dict(profile='official', **settings))
    head = dict(type='WaveHead', in_channels=4, channels=4, num_classes=5, dropout_ratio=0)
    cfg.model = dict(type='EncoderDecoder', backbone=dict(type='WaveBackbone', returns=returns), decode_head=head)
    model = MODELS.build(step_config(cfg, build_scenario(cfg), 1).model)
    model.teacher = WaveTeacher()
    return model
