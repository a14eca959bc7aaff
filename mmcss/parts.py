"""The contract between a step and the parts of a method.

A method is composed in config from parts. A part may bring modules
(``modules``), and has up to seven moments, all optional: ``attach``,
``before_step``, ``targets``, ``loss``, ``observe``, ``before_update`` and
``after_step``; see :class:`Part`. What a part sees of a batch is a :class:`StepBatch`.
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
    """What parts may use of the model in training, which is a segmentor."""

    def named_parameters(self) -> Iterator[Tuple[str, nn.Parameter]]:
        """As those of any module."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Its tensors by name, not copies: writing into them changes the model."""

    def widening(self, old: Mapping[str, Tensor]) -> Callable[..., Tensor]:
        """A function of name and value that brings a tensor of the step before into the shape that it has now."""


class ImagePasses(Protocol):
    """A part's passes over the images of a step.

    Each iteration is one pass, augmented anew. In a distributed run each
    process sees its own share.
    """

    @property
    def model(self) -> Student:
        """The student; after a step the one that is handed over, with averaged weights if there are any."""

    def __iter__(self) -> Iterator[StepBatch]:
        """One pass; runs only when iterated."""


class Part(Checked):
    """One part of a method: override the moments it acts at.

    Parts are no modules: parameters are of the modules that they bring
    (:meth:`modules`), and other tensors stay out of the checkpoint. What has to last for the step goes through
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
    Parts that change the trained model in ``after_step`` set
    ``changes_model``, by which the step's last checkpoint follows.
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
    changes_model: bool = False
    per_class: Mapping[str, int] = {}

    def load_previous(self, state: Dict[str, Tensor]) -> None:
        """Take over, before step 1 and later ones, what :meth:`state_dict` gave at the end of the step before."""

    def modules(self, student: nn.Module) -> Mapping[str, nn.Module]:
        """Modules that are trained with the student, when it is built, by names of the part's choice.

        They are in its checkpoints and averages, and in the hand-over under
        ``part_modules.<name of the part>``, from which the next step has them,
        grown like all else (:class:`mmcss.models.growing.GrowingModule`);
        stock MMSegmentation leaves them out. One by the name of a module of
        the student ('backbone.layer4.0.conv2') takes its place, and folds
        into stock tensors at hand-over. Keep norms within others (Sequential):
        a runner may exchange them (SyncBN).

        Args:
            student: The segmentor; it has no weights yet.
        """
        return {}

    def attach(self, student: Student, old: Mapping[str, Tensor]) -> None:
        """Take the model that is going to be trained.

        Args:
            student: The model, as it starts into the step (or, in a run that
                is resumed, as it was stopped).
            old: State dict of the step before; empty at step 0.
        """

    def before_step(self, split: Split, batches: ImagePasses) -> None:
        """Look at the training images with the teacher, before training.

        Args:
            split: The classes of the step.
            batches: Passes over them; each batch holds the teacher's prediction.
        """

    def targets(self, batch: StepBatch) -> None:
        """Complete ``batch.target`` (assign a new tensor) before the student runs."""

    def loss(self, batch: StepBatch) -> Optional[Tensor]:
        """A scalar to add to the loss, None for nothing to add."""
        return None

    def observe(self, batch: StepBatch) -> None:
        """Look at a batch that is trained, with both predictions, once its losses are there.

        It adds nothing to them. Batches that a replay only takes losses or
        gradients of are not observed.
        """

    def before_update(self) -> None:
        """Read or change the gradients right before an update of the weights.

        They are those of all processes and of all batches that accumulate to
        the update, without the factor of mixed precision, after a clipping of
        gradients. The state of a part that has this moment goes into the
        checkpoints of the step as well.
        """

    def after_step(self, split: Split, batches: ImagePasses) -> None:
        """Look at the training images with the trained student.

        Parts are called in the order of the config, ``targets`` first. One
        that sets ``changes_model`` may write into ``batches.model`` here, on
        all processes alike: parts behind it look at what it has made, which is
        what is handed over and evaluated. A step that was stopped before its
        hand-over goes on from unchanged weights, so that nothing is changed
        twice.

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
