"""The contract between a step and the parts of a method.

A method is composed in config from parts. A part has up to six moments, all
optional: ``attach``, ``before_step``, ``targets``, ``loss``, ``before_update``
and ``after_step``; see :class:`Part`. What a part sees of a batch is a :class:`StepBatch`.
"""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Callable, Dict, Iterable, Iterator, Mapping, Optional, Protocol, Tuple

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from .arguments import ABSENT, Checked
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


class Student(Protocol):
    """What parts may ask of the model in training; it is a segmentor besides."""

    def named_parameters(self) -> Iterator[Tuple[str, nn.Parameter]]:
        """As those of any module."""

    def widening(self, old: Mapping[str, Tensor]) -> Callable[..., Tensor]:
        """What brings a tensor of the step before, given by name and value, into the shape that it has now."""


class Part(Checked):
    """One part of a method: override the moments it acts at.

    Parts are no modules: they own no parameters, and their tensors stay out
    of the checkpoint. What has to last for the step goes through
    :meth:`state_dict`, which is written to the step's folder, where a resumed
    run finds it.
    What they are built with is checked by the annotations of their ``__init__``
    (see :mod:`mmcss.arguments`), which say the range of each number.
    Parts that compare student and teacher act from step 1 on; those that set
    ``from_first_step`` act at step 0 as well. ``after_step`` is called after
    every step, so that step 1 finds what step 0 left.
    Those of these that gather something at step 0, and change nothing that is
    learned there, set ``watches_first_step``: step 0 may come from another
    run that had them, whatever else the method does.
    Parts that never look at the teacher set ``uses_teacher`` to False: a method
    of such parts alone has none, and saves its forward pass.
    Parts that know what to do with a last channel and label for unknown (SSUL)
    set ``takes_unknown``; with others such a model is refused.
    Parts that mean nothing where a step brings no new classes (domains) set
    ``about_new_classes``, and are refused there.
    The loss of a part is taken for a mean over the images of the batch, and
    weighted with their number where processes have more or fewer of them.
    Those whose loss is another set ``mean_over_images`` to False, and ask
    :attr:`StepBatch.over_processes` (see :mod:`mmcss.losses.reduce`).
    Parts whose state has an entry for each class name these tensors in
    ``per_class``, with the dimension of the classes, so that a file of other
    classes is found out.
    """

    needs: Needs = Needs()
    from_first_step: bool = False
    watches_first_step: bool = False
    uses_teacher: bool = True
    takes_unknown: bool = False
    about_new_classes: bool = False
    mean_over_images: bool = True
    per_class: Mapping[str, int] = {}

    def load_previous(self, state: Dict[str, Tensor]) -> None:
        """Take over, before step 1 and later ones, what :meth:`state_dict` gave at the end of the step before."""

    def attach(self, student: Student, old: Mapping[str, Tensor]) -> None:
        """Take the model that is going to be trained.

        Args:
            student: The model, as it starts into the step (or, in a run that
                is resumed, as it was stopped).
            old: State dict of the step before; empty at step 0.
        """

    def before_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        """Look at the training images with the teacher, before training.

        Args:
            split: The classes of the step.
            batches: Each time that it is iterated it is one pass over the
                step's training images, augmented anew; each batch holds the
                teacher's prediction. In a distributed run each process sees
                its own share.
        """

    def targets(self, batch: StepBatch) -> None:
        """Complete ``batch.target`` (assign a new tensor) before the student runs."""

    def loss(self, batch: StepBatch) -> Optional[Tensor]:
        """A scalar to add to the loss, None for nothing to add."""
        return None

    def before_update(self) -> None:
        """Read or change the gradients right before an update of the weights.

        They are those of all processes and of all batches that accumulate to
        the update, without the factor of mixed precision, after a clipping of
        gradients. The state of a part that has this moment goes into the
        checkpoints of the step as well.
        """

    def after_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        """Look at the training images with the trained student.

        Args:
            split: The classes of the step.
            batches: As in :meth:`before_step`, with the student's prediction
                in evaluation mode in place of the teacher's.
        """

    def state_dict(self) -> Dict[str, Tensor]:
        """Tensors to keep beside the step's checkpoint."""
        return {}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave at this step, in a run that is resumed."""


def overrides(part: Part, moment: str) -> bool:
    """Whether a part does anything at a moment, such as 'after_step'."""
    return getattr(type(part), moment) is not getattr(Part, moment)
