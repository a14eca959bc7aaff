"""Tiny stock models, hand-overs and batches for the tests of this folder."""
from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmcss.engine.class_settings import StepClasses
from mmcss.engine.model_config import STUDENTS, stock_model, teacher_model
from mmcss.files import plain
from mmcss.models import save_hand_over
from mmcss.scenario import Split

init_default_scope('mmseg')

BN = dict(type='BN')
HEADS = {
    'FCN': dict(type='FCNHead', in_channels=64, in_index=3, num_convs=1, concat_input=False),
    'ASPP': dict(type='ASPPHead', in_channels=64, in_index=3, dilations=(1, 2)),
    'DA': dict(type='DAHead', in_channels=64, in_index=3, pam_channels=8),
    'Enc': dict(type='EncHead', in_channels=(16, 32, 64), in_index=(1, 2, 3), num_codes=4,
                loss_se_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=.2)),
}


def head(name: str, **changes: Any) -> Dict[str, Any]:
    """Config of a decode head of 8 channels."""
    return dict(copy.deepcopy(HEADS[name]), channels=8, norm_cfg=BN, dropout_ratio=.1,
                loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.), **changes)


def resnet(**changes: Any) -> Dict[str, Any]:
    """Config of a ResNet-18 with stages of 8, 16, 32 and 64 channels at 1/4, 1/8, 1/8 and 1/8."""
    return dict(dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
                     dilations=(1, 1, 2, 4), norm_cfg=BN), **changes)


def encoder_decoder(name: str = 'FCN', auxiliary: bool = False, backbone: Optional[Mapping[str, Any]] = None,
                    **changes: Any) -> Dict[str, Any]:
    """Config of a model on a ResNet, without a number of classes."""
    model = dict(type='EncoderDecoder', backbone=resnet(**(backbone or {})), decode_head=head(name, **changes))
    if auxiliary:
        model['auxiliary_head'] = dict(head('FCN'), in_channels=32, in_index=2,
                                       loss_decode=dict(type='CrossEntropyLoss', loss_weight=.4))
    return model


def cascade() -> Dict[str, Any]:
    """Config of an FCNHead with an OCRHead on it."""
    ocr = dict(head('FCN'), type='OCRHead', ocr_channels=8)
    for key in ('num_convs', 'concat_input'):
        del ocr[key]
    return dict(type='CascadeEncoderDecoder', num_stages=2, backbone=resnet(), decode_head=[head('FCN'), ocr])


def segformer() -> Dict[str, Any]:
    """Config of a Segformer with stages of 8, 16, 32 and 64 channels."""
    backbone = dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 2, 4, 8],
                    sr_ratios=[8, 4, 2, 1], drop_path_rate=0.)
    decode_head = dict(head('FCN'), type='SegformerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3])
    for key in ('num_convs', 'concat_input'):
        del decode_head[key]
    return dict(type='EncoderDecoder', backbone=backbone, decode_head=decode_head)


MODEL_CONFIGS = {
    'FCN': encoder_decoder('FCN'),
    'ASPP': encoder_decoder('ASPP', auxiliary=True),
    'DA': encoder_decoder('DA'),
    'Enc': encoder_decoder('Enc'),
    'OCR': cascade(),
    'Segformer': segformer(),
}


def make_split(num_old: int, num_new: int) -> Split:
    """Step 1, or step 0 if there are no old classes; class 0 is the background."""
    names = ('background', *(f'c{i}' for i in range(1, num_old + num_new)))
    old, new = names[:num_old], names[num_old:]
    return Split(int(num_old > 0), old, new, ('later', ), old or new, 'background')


def student_model(model: Mapping[str, Any], continual: Mapping[str, Any]) -> Dict[str, Any]:
    """The student of a stock model, as a step's config has it."""
    return dict(model, type=STUDENTS[model['type']], continual=plain(continual))


def with_classes(model: Mapping[str, Any], classes: int) -> Dict[str, Any]:
    """A stock config with its number of classes."""
    return stock_model(model, StepClasses(range(classes), classes, classes), 'valid')


def build(config: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """Build and initialise a model, then spread its classifiers and batch norms so that outputs differ."""
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(dict(config)))
    initialise(model)
    spread(model, seed)
    return model


def initialise(model: nn.Module) -> None:
    """``init_weights`` without its hundred lines of log."""
    logging.disable(logging.INFO)
    try:
        model.init_weights()
    finally:
        logging.disable(logging.NOTSET)


@torch.no_grad()
def spread(model: nn.Module, seed: int = 0) -> None:
    """Give batch norms and classifiers values far from their first ones, where residual branches are 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, .3, generator=generator)
            module.running_var.uniform_(.5, 2, generator=generator)
            module.weight.uniform_(.5, 1.5, generator=generator)
            module.bias.normal_(0, .3, generator=generator)
        elif name.endswith(('conv_seg', 'se_layer')):
            module.weight.normal_(0, .3, generator=generator)
            module.bias.normal_(0, .3, generator=generator)


def hand_over(path: Path, model: nn.Module, classes: Sequence[str]) -> Path:
    """Save a model as the hand-over of a step."""
    save_hand_over(path, model.state_dict(), dict(classes=list(classes)))
    return path


def student_and_teacher(folder: Path, config: Mapping[str, Any], num_old: int, num_new: int,
                        method: Optional[Mapping[str, Any]] = None, prepare: Any = None,
                        moved: float = .05, seed: int = 0) -> Tuple[nn.Module, nn.Module]:
    """A student of step 1 that has grown from a teacher, as a step's config would make it.

    Args:
        folder: Where the teacher's hand-over goes.
        config: Stock model config.
        num_old: Number of old classes.
        num_new: Number of new classes.
        method: ``targets``, ``losses`` and ``new_rows``.
        prepare: Called with the student's stock config; returns the one to use.
        moved: How far the student has moved since it grew.
        seed: Of the random numbers.

    Returns:
        The student, and a stock model with the teacher's tensors in
        evaluation mode.
    """
    split = make_split(num_old, num_new)
    old = with_classes(config, num_old)
    teacher = build(old, seed)
    path = hand_over(folder / 'step_0.pth', teacher, split.old)
    stock = with_classes(config, num_old + num_new)
    continual = dict(method or {}, split=split.to_dict(), previous=str(path), teacher=teacher_model(old))
    torch.manual_seed(seed + 1)
    student = MODELS.build(student_model(prepare(stock) if prepare else stock, continual))
    initialise(student)
    move(student, seed + 2, moved)
    return student, teacher.eval()


@torch.no_grad()
def move(model: nn.Module, seed: int, by: float) -> None:
    """Change each parameter a little, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def images(number: int = 2, size: Tuple[int, int] = (32, 32), seed: int = 0) -> Tensor:
    """``[N, 3, H, W]`` preprocessed images."""
    return torch.randn(number, 3, *size, generator=torch.Generator().manual_seed(seed))


def labels(classes: Sequence[int], number: int = 2, size: Tuple[int, int] = (32, 32), seed: int = 0) -> Tensor:
    """``[N, H, W]`` labels in blocks of 4 pixels, each of the given classes."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = -(-size[0] // 4), -(-size[1] // 4)
    blocks = torch.tensor(classes)[torch.randint(len(classes), (number, rows, columns), generator=generator)]
    return blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :size[0], :size[1]].contiguous()


def samples(target: Tensor) -> List[SegDataSample]:
    """Data samples with labels ``[N, H, W]``."""
    result = []
    for one in target:
        shape = tuple(one.shape)
        sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape))
        sample.gt_sem_seg = PixelData(data=one[None].clone())
        result.append(sample)
    return result


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum of what mmengine would add up: the entries with 'loss' in their name."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def gradients(model: nn.Module) -> Dict[str, Tensor]:
    """Gradient by parameter name; fails where a trained parameter has none."""
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not [name for name, gradient in found.items() if gradient is None]
    return found
