"""One step of a stock model in a plain PyTorch loop."""
from __future__ import annotations

import copy
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence, Union

from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ..arguments import make
from ..datasets import StepDataset
from ..evaluation.step_scores import check_collated
from ..files import PathLike, short
from ..models import FrozenTeacher, Method, forget_hand_over, grow, load_hand_over, save_hand_over
from ..models.part_modules import part_tensors
from ..models.freezing import hold_rows
from ..models.growing import reserved_rows
from ..models.method import Learning
from ..models.narrowing import narrowed
from ..models.students import check_stock, make_student
from ..parts import ImagePasses, Part
from .image_pass import ImagePass, SeededImages
from .moments import Moments
from .part_states import PartStates, State, part_file, save_state

SERVED = '_served'  # is an attribute of parts that a session has begun with


class _StepBefore(NamedTuple):
    """The step before: its state dict (empty at step 0), the states of its parts, and what copies its model."""

    state: Mapping[str, Tensor]
    part_states: Union[PathLike, Mapping[str, State], None]
    copy_model: Callable[[], EncoderDecoder]


class StepSession:
    """Lets a stock segmentor learn one step with a method, without configs and runner.

    ``begin`` grows the model from the step before and prepares the method;
    from there to ``end`` the model is a student, whose loss is the method's.
    Then it is a stock model again, of the same class and with the same names
    of tensors as before. Training is in one process.

    Args:
        model: A segmentor of MMSegmentation with a channel for each seen
            class (and for unknown, if it has one), on its device.
        method: The method, with parts built for this step.
        previous: The step before: its session, its trained model (without
            the states of its parts), or its hand-over file, with the states
            of its parts beside it. None at step 0.
        new_rows, frozen, row_lr, stages: See
            :class:`~mmcss.models.learning.Learning`.
        seed: Of the augmentations in the parts' passes over the images.

    Attributes:
        states: The states of the method's parts for the next step, by name.

    Raises:
        TypeError: The model is no stock one.
        ValueError: The model, the method and the step before don't fit.
    """

    def __init__(self, model: EncoderDecoder, method: Method,
                 previous: Union[StepSession, EncoderDecoder, PathLike, None] = None, new_rows: str = Learning.new_rows,
                 frozen: Sequence[str] = Learning.frozen, row_lr: Optional[Mapping[str, float]] = None,
                 stages: Sequence[str] = Learning.stages, seed: int = 0) -> None:
        self.model, self.method, self.split = model, method, method.split
        self.previous = previous
        self.learning = make(Learning, dict(new_rows=new_rows, frozen=frozen, row_lr=row_lr or {}, stages=stages), '')
        self.seed = seed
        self.states: Dict[str, State] = {}
        self.progress = 'not begun'  # then 'begun', then 'ended'
        self._undo = ExitStack()  # makes the model a stock one again
        self._check_arguments()

    def begin(self, loader: DataLoader[Any], optimizer: Optimizer) -> None:
        """Grow the model, freeze the teacher, and call ``before_step`` of the parts.

        Args:
            loader: The step's training images, of a
                :class:`~mmcss.datasets.StepDataset`, collated by mmengine's
                ``pseudo_collate``.
            optimizer: Of the model's parameters; parts act right before each
                of its updates. The parameters of part modules become a group
                of it.

        Raises:
            ValueError: The loader or the optimizer is of another step or
                model, parts have served before, or an argument of the session
                does not fit the model.
        """
        self._expect('not begun')
        self.dataset = self._fitting_dataset(loader, optimizer)
        self.loader, self.optimizer = loader, optimizer
        stock = set(self.model.parameters())
        before, teacher = self._step_before(), None
        try:
            if before.state and any(part.uses_teacher for part in self.method.parts.values()):
                teacher = FrozenTeacher(before.copy_model(), stages=self.learning.stages)
            self._undo.callback(make_student(self.model, self.method, self.learning, teacher))
            if before.state:
                grow(self.model, before.state, self.split.num_old, self.learning.new_rows)
            part_parameters = [parameter for parameter in self.model.parameters() if parameter not in stock]
            if part_parameters:
                optimizer.add_param_group(dict(params=part_parameters))
            self._begin_moments(before)
        except BaseException as error:  # KeyboardInterrupt too
            self._undo.close()
            if isinstance(error, ValueError) and str(error).startswith('continual.'):  # keys of a config
                raise ValueError(str(error).replace('continual.', '')) from error
            raise
        for part in self._parts():
            vars(part)[SERVED] = True
        self.previous = None  # or each step would keep all models before it
        forget_hand_over()
        self.progress = 'begun'
        self.model.train()

    def loss(self, data: Mapping[str, Any]) -> Tensor:
        """The loss of a batch of the loader: the model's on the labels that the method completed, plus the method's."""
        return self.losses(data)['loss']

    def losses(self, data: Mapping[str, Any]) -> Dict[str, Tensor]:
        """The :meth:`loss` as ``loss``, its terms by name, and accuracies."""
        self._expect('begun')
        losses = self.model.loss(**self.model.data_preprocessor(data, training=True))
        return self.model.parse_losses(losses)[1]

    def step(self, data: Mapping[str, Any]) -> Dict[str, Tensor]:
        """One update of the weights by a batch; returns the :meth:`losses`, without gradients."""
        losses = self.losses(data)
        self.optimizer.zero_grad()
        losses['loss'].backward()
        self.optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def end(self, path: Optional[PathLike] = None) -> None:
        """Call ``after_step`` of the parts, and make the model a stock one again.

        Args:
            path: Where to write the hand-over file, which stock
                MMSegmentation loads too, with the states of the parts beside it.
        """
        self._expect('begun')
        self.moments.finish()
        self.part_tensors = {name: value.clone() for name, value in part_tensors(self.model.state_dict()).items()}
        self._undo.close()
        self.progress = 'ended'
        if path is not None:
            meta = dict(step=self.split.step, classes=list(self.split.seen), dataset_meta=self.dataset.metainfo)
            save_hand_over(path, {**self.model.state_dict(), **self.part_tensors}, meta)
            for name, state in self.states.items():
                save_state(part_file(path, name), state, self._part_classes[name])
        # The step after may keep this session while it trains.
        del self.loader, self.dataset, self.optimizer, self.moments

    def _check_arguments(self) -> None:
        check_stock(self.model)
        if self.previous is not None and not isinstance(self.previous, (StepSession, EncoderDecoder, str, Path)):
            raise TypeError(f'previous: got {type(self.previous).__name__}, expected a StepSession, a stock model or the '
                            'path of a hand-over file.')
        step, channels = self.split.step, self.split.num_seen + reserved_rows(self.model)
        if self.model.num_classes != channels:
            raise ValueError(f'model: got {self.model.num_classes} channels, expected {channels}: step {step} has '
                             f'{self.split.num_seen} seen classes. Set num_classes of its heads.')
        if (self.previous is None) != (step == 0):
            raise ValueError(f'previous: got {short(self.previous)} at step {step}; step 0 has none, later steps need one.')
        if isinstance(self.previous, StepSession) and (
                self.previous.progress != 'ended' or self.previous.split.seen != self.split.old):
            raise ValueError(f'previous: got a session of step {self.previous.split.step} with the classes '
                             f'{list(self.previous.split.seen)}, expected one that has ended, with {list(self.split.old)}.')

    def _fitting_dataset(self, loader: DataLoader[Any], optimizer: Optimizer) -> StepDataset:
        dataset = loader.dataset
        if not isinstance(dataset, StepDataset) or dataset.split != self.split:
            raise ValueError(f'loader.dataset: got {type(dataset).__name__}, expected the StepDataset of step '
                             f"{self.split.step}, with the method's split.")
        check_collated(loader)
        parameters = set(self.model.parameters())
        if any(parameter not in parameters for group in optimizer.param_groups for parameter in group['params']):
            raise ValueError("optimizer: got parameters that the session's model does not have; build it from "
                             'model.parameters().')
        if any(SERVED in vars(part) for part in self._parts()):
            raise ValueError('method: got parts that another session has used; build new ones for each step.')
        return dataset

    def _parts(self) -> Iterable[Part]:
        return {**self.method.parts, **self.method.observers}.values()

    def _expect(self, progress: str) -> None:
        if self.progress != progress:
            raise RuntimeError(f'the session of step {self.split.step} has {self.progress}; begin it once, train, and end '
                               'it once.')

    def _step_before(self) -> _StepBefore:
        previous = self.previous
        if previous is None:
            return _StepBefore({}, None, EncoderDecoder)
        if isinstance(previous, (str, Path)):
            state = load_hand_over(previous, self.split.old)['state_dict']
            return _StepBefore(state, previous, lambda: narrowed(self.model, state, self.split.num_old))
        model, part_states, part_tensors = (previous.model, previous.states, previous.part_tensors) if isinstance(
            previous, StepSession) else (previous, {}, {})
        state = {name: value.detach().clone() for name, value in {**model.state_dict(), **part_tensors}.items()}
        return _StepBefore(state, part_states, lambda: copy.deepcopy(model))

    def _begin_moments(self, before: _StepBefore) -> None:
        if before.state and (self.learning.frozen or self.learning.row_lr):
            for parameter in self.model.parameters():
                self._undo.callback(parameter.requires_grad_, parameter.requires_grad)
            self.model.freeze(before.state)
        states = PartStates(before.part_states)
        self.moments = Moments(self.model, self._image_passes, states)
        self.states, self._part_classes = states.states, states.part_classes
        self._undo.callback(self.optimizer.register_step_pre_hook(lambda *_: self.moments.before_update()).remove)
        self.moments.begin(before.state)
        if self.model.row_rates:
            for handle in hold_rows(self.optimizer, self.model, self.model.row_rates):
                self._undo.callback(handle.remove)

    def _image_passes(self, name: str, part: Part, student: bool) -> ImagePasses:
        return ImagePass(self.model, part.needs, student, partial(self._images, part.needs.view))

    def _images(self, view: Mapping[str, Any], number: int) -> Iterator[Dict[str, Any]]:
        """Batches of each image of the step once, preprocessed, with augmentations seeded by image and pass."""
        loader = self.loader
        images = SeededImages(self.dataset.viewed(view), self.dataset.each_once(), self.seed, number)
        for data in DataLoader(images, loader.batch_size or 1, num_workers=loader.num_workers, collate_fn=loader.collate_fn):
            yield self.model.data_preprocessor(data, training=True)
