"""The contract between a step and the parts of a method.

A method is composed of parts in its config. A part may add modules (``modules``), and has up to seven moments, all
optional: ``attach``, ``before_step``, ``targets``, ``loss``, ``observe``, ``before_update`` and ``after_step``; see
:class:`Part`. It gets a batch as a :class:`StepBatch`.
"""
from __future__ import annotations

from typing import Callable, Dict, Iterator, Mapping, Optional, Protocol, Tuple

import torch.nn as nn
from torch import Tensor

from .arguments import Checked
from .batches import Attention, Needs, Prediction, ModuleTensors, StepBatch
from .scenario import Split

__all__ = ['Attention', 'ImagePasses', 'Needs', 'Part', 'Prediction', 'ModuleTensors', 'StepBatch', 'Student', 'overrides']


class Student(Protocol):
    """The interface of the model in training, which is a segmentor, for parts."""

    def named_parameters(self) -> Iterator[Tuple[str, nn.Parameter]]:
        """As those of any module."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Its tensors by name, not copies: writing into them changes the model."""

    def widening(self, old: Mapping[str, Tensor]) -> Callable[..., Tensor]:
        """A function of name and value that widens a tensor of the step before to its present shape."""


class ImagePasses(Protocol):
    """A part's passes over the images of a step: each iteration is one, augmented anew, over the process's share."""

    @property
    def model(self) -> Student:
        """The student; after a step the one that is handed over, with averaged weights if there are any."""

    def __iter__(self) -> Iterator[StepBatch]:
        """One pass."""


class Part(Checked):
    """One part of a method: override the moments it acts at.

    Parts are no modules: parameters belong to the modules that they add (:meth:`modules`), and other tensors are not in the
    checkpoint. What has to survive the step goes into :meth:`state_dict`, which is written to the step's folder, from which
    a resumed run reads it. Arguments are checked by the annotations of ``__init__`` (see :mod:`mmcss.arguments`), which
    give the range of each number.

    Attributes:
        needs: What the part reads of student and teacher.
        from_first_step: Whether it acts at step 0 as well; parts that compare student and teacher act from step 1 on.
            ``after_step`` is called after every step, so that step 1 has the state of step 0.
        watches_first_step: Whether it acts at step 0 without changing what is learned there: step 0 may then come from
            another run that had the part, whatever else its method was.
        uses_teacher: Whether it needs the teacher; a method without such parts has none, and saves its forward pass.
        takes_unknown: Whether it supports a last channel and label for the unknown class (SSUL); such a model is refused
            with other parts.
        about_new_classes: Whether it has no effect where a step adds no classes (domains); it is refused there.
        mean_over_images: Whether its loss is a mean over the images of the batch, which is weighted with their number where
            processes have more or fewer of them; other losses use :attr:`StepBatch.over_processes` (see
            :mod:`mmcss.losses.reduce`).
        changes_model: Whether it changes the trained model in ``after_step``; the step's last checkpoint is then renewed.
        per_class: Tensors of its state with an entry for each class, and the dimension of the classes, by which a file of
            other classes is detected.
    """

    needs: Needs = Needs()
    from_first_step: bool = False
    watches_first_step: bool = False
    uses_teacher: bool = True
    takes_unknown: bool = False
    about_new_classes: bool = False
    mean_over_images: bool = True
    changes_model: bool = False
    per_class: Mapping[str, int] = {}

    def load_previous(self, state: Dict[str, Tensor]) -> None:
        """Take over, from step 1 on, the :meth:`state_dict` of the step before."""

    def modules(self, student: nn.Module) -> Mapping[str, nn.Module]:
        """Modules that are trained with the student, a segmentor without weights yet, by names of the part's choice.

        They are in its checkpoints and averages, and in the hand-over under ``part_modules.<name of the part>``, from which
        the next step loads and grows them (:class:`mmcss.models.growing.GrowingModule`); stock MMSegmentation ignores them.
        One with the name of a module of the student ('backbone.layer4.0.conv2') replaces it, and is folded into stock
        tensors at hand-over. Put norms into containers (Sequential): a runner may replace them (SyncBN).
        """
        return {}

    def attach(self, student: Student, old: Mapping[str, Tensor]) -> None:
        """Take the model before it is trained.

        Args:
            student: The model as it starts the step (in a resumed run, as it was stopped).
            old: State dict of the step before; empty at step 0.
        """

    def before_step(self, split: Split, batches: ImagePasses) -> None:
        """Pass over the training images before training; each batch has the teacher's prediction."""

    def targets(self, batch: StepBatch) -> None:
        """Complete ``batch.target`` (assign a new tensor) before the student runs."""

    def loss(self, batch: StepBatch) -> Optional[Tensor]:
        """A scalar to add to the loss, None for nothing to add."""
        return None

    def observe(self, batch: StepBatch) -> None:
        """Read a training batch, with both predictions, after its losses.

        Batches of which a replay uses only losses or gradients are not observed.
        """

    def before_update(self) -> None:
        """Read or change the gradients right before an update of the weights.

        They are summed up over all processes and accumulated batches, without the factor of mixed precision, after
        clipping. The state of a part with this moment is in the step's checkpoints as well.
        """

    def after_step(self, split: Split, batches: ImagePasses) -> None:
        """Pass over the training images with the trained student, whose prediction in evaluation mode each batch has.

        Parts are called in the order of the config, ``targets`` first. One that sets ``changes_model`` may write into
        ``batches.model`` here, on all processes alike: later parts, hand-over and evaluation use the changed model. A step
        that was stopped before its hand-over resumes from unchanged weights, so that nothing is changed twice.
        """

    def state_dict(self) -> Dict[str, Tensor]:
        """Tensors to save beside the step's checkpoint."""
        return {}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        """Restore the :meth:`state_dict` of this step, in a resumed run."""


def overrides(part: Part, moment: str) -> bool:
    """Whether a part does anything at a moment, such as 'after_step'."""
    return getattr(type(part), moment) is not getattr(Part, moment)
