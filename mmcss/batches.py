"""What a part sees of a batch, and what it asks for."""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Dict, Optional, Tuple

import torch.nn.functional as F
from torch import Tensor

from .arguments import ABSENT
from .scenario import Split


@dataclass(frozen=True)
class Needs:
    """What a part reads of student and teacher besides the head's logits.

    Nothing is tapped or kept that no part asked for.

    Args:
        stages: The outputs of the backbone's stages (before the last ReLU
            for ResNets).
        body: What the backbone returns last (for ResNets after the ReLU).
        embedding: The decode head's features before dropout and classifier.
        logits: Logits at the resolution of the labels.
        attention: The attention of the last block of each stage of a
            transformer.
        outputs: Names of modules of the segmentor whose outputs are kept, such
            as 'decode_head.conv_seg'; the first one where they are several,
            the last call's where a module is called several times.
        inputs: Likewise, whose first inputs are kept.
        labelled: Which classes the labels of each image tell (see
            :attr:`StepBatch.labelled`).
        true_background: In passes over the step's images only what no class
            covers is background; old and future classes are ignored. No
            continual setting: released code looks at such labels.
    """

    stages: bool = False
    body: bool = False
    embedding: bool = False
    logits: bool = False
    attention: bool = False
    outputs: Tuple[str, ...] = ()
    inputs: Tuple[str, ...] = ()
    labelled: bool = False
    true_background: bool = False

    def __or__(self, other: Needs) -> Needs:
        flags = {f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)}
        named = {key: tuple(dict.fromkeys(getattr(self, key) + getattr(other, key))) for key in ('outputs', 'inputs')}
        return Needs(**{**flags, **named})


@dataclass(frozen=True)
class Attention:
    """How the cells of a stage attend to its keys.

    Args:
        weights: ``[N, heads, h * w, keys]`` after the softmax; cells in
            row-major order.
        grid: Height and width of the stage, h and w.
    """

    weights: Tensor
    grid: Tuple[int, int]


class Seen(Dict[str, Tensor]):
    """Tensors of the modules that have run in a pass, by their names."""

    def __missing__(self, name: str) -> Tensor:
        raise KeyError(f'{name} has not run in this pass, or was not asked for; Needs asks for outputs and inputs, and auxiliary '
                       'heads run in training alone.')


@dataclass
class Prediction:
    """What one model said of one batch.

    Args:
        head_logits: ``[N, C, h, w]`` logits as the decode head gives them.
        size: Height and width of the labels.
        align_corners: How the decode head upsamples.
        stages: ``[N, C_l, h_l, w_l]``, or tokens ``[N, L, D]`` where
            ``continual.stages`` names a module of such, for each stage, if
            asked for.
        body: ``[N, C_b, h_b, w_b]``, if asked for.
        embedding: ``[N, D, h, w]``, if asked for.
        attention: For each stage, if asked for.
        outputs: By name of the module, as it returned them, if asked for; the
            teacher's are of the same names.
        inputs: Likewise, as it got them.
    """

    head_logits: Tensor
    size: Tuple[int, int]
    align_corners: bool = False
    stages: Tuple[Tensor, ...] = ()
    body: Tensor = ABSENT
    embedding: Tensor = ABSENT
    attention: Tuple[Attention, ...] = ()
    outputs: Seen = field(default_factory=Seen)
    inputs: Seen = field(default_factory=Seen)
    upsampled: Optional[Tensor] = None

    @property
    def logits(self) -> Tensor:
        """``[N, C, H, W]`` logits at label resolution, upsampled once."""
        if self.upsampled is None:
            self.upsampled = F.interpolate(
                self.head_logits, self.size, mode='bilinear', align_corners=self.align_corners)
        return self.upsampled

    @property
    def maps(self) -> Tuple[Tensor, ...]:
        """The stages, where each is a map.

        Raises:
            ValueError: One is not.
        """
        for number, stage in enumerate(self.stages):
            if stage.dim() != 4:
                raise ValueError(f'stage {number} of this model gives no map [N, C, h, w] but a tensor of shape '
                                 f'{tuple(stage.shape)}; name modules that do in continual.stages.')
        return self.stages


@dataclass
class StepBatch:
    """One batch as the parts of a method see it.

    Args:
        split: The classes of the step.
        raw_target: ``[N, H, W]`` labels as the data set gives them at this
            step: background, new classes, 255.
        target: The labels to train on, as completed so far by the parts.
        pixel_weight: ``[N, 1, 1]`` or ``[N, H, W]`` factor on the decode
            head's loss, None for 1.
        teacher: Prediction of the frozen model of the step before; None at
            step 0.
        student: Prediction of the model in training; None until it has run.
        labelled: ``[N, C]`` bool, if asked for: which seen classes (background
            among them, which is always False) the labels of each image tell.
            The step's own images have the new ones; remembered images those
            that they were stored with. What an image shows of other classes
            is background in its labels.
        image_share: Scalar: this process's number of images, by the mean of
            all processes'. None where means are not taken over the images of
            all processes, or there is one alone.
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
        """Whether what is a mean over the batch is to be one over the images of all processes."""
        return self.image_share is not None
