"""Batches as parts get them, and how parts ask for their contents."""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

import torch.nn.functional as F
from torch import Tensor

from .arguments import ABSENT
from .scenario import Split


@dataclass(frozen=True)
class Needs:
    """What a part reads of student and teacher besides the head's logits; nothing else is collected.

    Args:
        stages: The outputs of the backbone's stages (before the last ReLU for ResNets).
        backbone_output: The backbone's last output (for ResNets after the ReLU).
        embedding: The decode head's features before dropout and classifier.
        logits: Logits at the resolution of the labels.
        attention: The attention of the last block of each stage of a transformer.
        outputs: Names of modules of the segmentor whose outputs are collected, such as 'decode_head.conv_seg'; the first of
            several outputs, of the module's last call.
        inputs: Names of modules whose first inputs are collected.
        labelled: Which classes each image is labelled with (see :attr:`StepBatch.labelled`).
        view: Fields of the :class:`TrainView` to replace in passes over the step's images, such as
            ``dict(ignore_others=True)``; training batches keep the labels of the step.
    """

    stages: bool = False
    backbone_output: bool = False
    embedding: bool = False
    logits: bool = False
    attention: bool = False
    outputs: Tuple[str, ...] = ()
    inputs: Tuple[str, ...] = ()
    labelled: bool = False
    view: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, other: Needs) -> Needs:
        flags = {f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)}
        named = {key: tuple(dict.fromkeys(getattr(self, key) + getattr(other, key))) for key in ('outputs', 'inputs')}
        return Needs(**{**flags, **named})


@dataclass(frozen=True)
class Attention:
    """How the cells of a stage attend to its keys.

    Args:
        weights: ``[N, heads, h * w, keys]`` after the softmax; cells in row-major order.
        grid: Height and width of the stage, h and w.
    """

    weights: Tensor
    grid: Tuple[int, int]


class ModuleTensors(Dict[str, Tensor]):
    """Inputs or outputs of the modules that have run in a pass, by their names."""

    def __missing__(self, name: str) -> Tensor:
        raise KeyError(f'{name} has not run in this pass, or was not asked for. Name it in the outputs or inputs of Needs; '
                       'auxiliary heads run in training only.')


@dataclass
class Prediction:
    """The prediction of one model for one batch.

    Args:
        head_logits: ``[N, C, h, w]`` logits of the decode head.
        size: Height and width of the labels.
        align_corners: How the decode head upsamples.
        stages: ``[N, C_l, h_l, w_l]``, or tokens ``[N, L, D]`` where ``continual.stages`` names a module of such, for each
            stage, if asked for.
        backbone_output: ``[N, C_b, h_b, w_b]``, if asked for.
        embedding: ``[N, D, h, w]``, if asked for.
        attention: For each stage, if asked for.
        outputs: By name of the module, as it returned them, if asked for; the teacher's have the same names.
        inputs: Likewise, as it got them.
    """

    head_logits: Tensor
    size: Tuple[int, int]
    align_corners: bool = False
    stages: Tuple[Tensor, ...] = ()
    backbone_output: Tensor = ABSENT
    embedding: Tensor = ABSENT
    attention: Tuple[Attention, ...] = ()
    outputs: ModuleTensors = field(default_factory=ModuleTensors)
    inputs: ModuleTensors = field(default_factory=ModuleTensors)
    upsampled: Optional[Tensor] = None

    @property
    def logits(self) -> Tensor:
        """``[N, C, H, W]`` logits at label resolution, upsampled once."""
        if self.upsampled is None:
            self.upsampled = F.interpolate(self.head_logits, self.size, mode='bilinear', align_corners=self.align_corners)
        return self.upsampled

    @property
    def maps(self) -> Tuple[Tensor, ...]:
        """The stages, where each is a map.

        Raises:
            ValueError: One is not.
        """
        for number, stage in enumerate(self.stages):
            if stage.dim() != 4:
                raise ValueError(f'stage {number} of this model: got a tensor of shape {tuple(stage.shape)}, expected a map '
                                 '[N, C, h, w]; name modules that return maps in continual.stages.')
        return self.stages


@dataclass
class StepBatch:
    """One batch as the parts of a method see it.

    Args:
        split: The classes of the step.
        raw_target: ``[N, H, W]`` labels of the data set at this step: background, new classes, 255.
        target: The labels to train on, as completed so far by the parts.
        pixel_weight: ``[N, 1, 1]`` or ``[N, H, W]`` factor on the decode head's loss, None for 1.
        teacher: Prediction of the frozen model of the step before; None at step 0.
        student: Prediction of the model in training; None until it has run.
        labelled: ``[N, C]`` bool, if asked for: which seen classes each image is labelled with (always False for the
            background). The step's images are labelled with the new ones, remembered images with those that they were
            stored with; other classes are background there.
        image_share: Scalar: this process's number of images, divided by the mean number of all processes. None with a single
            process, and where means are not taken over the images of all processes.
    """

    split: Split
    raw_target: Tensor
    target: Tensor
    pixel_weight: Optional[Tensor] = None
    teacher: Prediction = ABSENT
    student: Prediction = ABSENT
    labelled: Tensor = ABSENT
    image_share: Optional[Tensor] = None

    @property
    def over_processes(self) -> bool:
        """Whether means over the batch are to be means over the images of all processes."""
        return self.image_share is not None
