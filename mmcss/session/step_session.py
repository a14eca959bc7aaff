"""One step of a stock model in a plain PyTorch loop."""
from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union

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
from ..models.learning import Learning
from ..models.narrowing import narrowed
from ..models.students import check_stock, make_student
from ..parts import ImagePasses, Part
from .image_pass import ImagePass, SeededImages
from .moments import Moments
from .part_states import PartStates, State, part_file, save_state

SERVED = '_served'  # is an attribute of parts that a session has begun with


class _Before(NamedTuple):
    """The step before: its state dict (empty at step 0), what its parts have left, and what gives a model to keep."""

    state: Mapping[str, Tensor]
    left: Union[PathLike, Mapping[str, State], None]
    model: Callable[[], EncoderDecoder]


class StepSession:
    """Lets a stock segmentor learn one step with a method, without configs and runner.

    ``begin`` grows the model from the step before and gets the method ready;
    between it and ``end`` the model is a student, whose loss is the method's.
    Then it is the stock model that it was, of the same class, with the names
    of tensors that it always had. One process trains.

    Args:
        model: A segmentor of MMSegmentation with a channel for each seen
            class (and for unknown, if it has one), on its device.
        method: The method, with parts of its own: they are the step's.
        previous: The step before: its session, its trained model, or the
            hand-over file that it has left (the states of its parts beside
            it). A model alone says nothing of what parts have left. None at
            step 0.
        new_rows: How the rows of new classes start; see
            :data:`mmcss.models.NEW_ROWS`.
        frozen: What stands still from step 1 on; see
            :func:`mmcss.models.freezing.freeze`.
        row_lr: What moves more slowly, likewise.
        stages: Names of the modules whose outputs are compared; default: the
            backbone's stages.
        seed: Of the augmentations when parts look at the images.

    Attributes:
        states: What the method's parts have left, by name, for the next step.

    Raises:
        TypeError: The model is no stock one.
        ValueError: The model, the method and the step before don't fit.
    """

    def __init__(self, model: EncoderDecoder, method: Method, previous: Union[StepSession, EncoderDecoder, PathLike, None] = None,
                 new_rows: str = Learning.new_rows, frozen: Sequence[str] = Learning.frozen,
                 row_lr: Optional[Mapping[str, float]] = None, stages: Sequence[str] = Learning.stages, seed: int = 0) -> None:
        self.model, self.method, self.split = model, method, method.split
        self.previous = previous
        self.learning = make(Learning, dict(new_rows=new_rows, frozen=frozen, row_lr=row_lr or {}, stages=stages), '')
        self.seed = seed
        self.states: Dict[str, State] = {}
        self.ended = False
        self._undo: List[Callable[[], Any]] = []  # what makes the model a stock one again
        self._check()

    def begin(self, loader: DataLoader[Any], optimizer: Optimizer) -> None:
        """Grow the model, freeze the teacher, and let the parts look once at the images of the step.

        Args:
            loader: The step's training images, of a
                :class:`~mmcss.datasets.StepDataset`, collated by mmengine's
                ``pseudo_collate``.
            optimizer: Of the model's parameters; parts act right before each
                of its updates. It gets a group of what parts bring.

        Raises:
            ValueError: The loader or the optimizer is of another step or
                model, parts have served before, or an argument of the session
                means nothing to the model.
        """
        self._expect(begun=False)
        self.dataset = self._fitting_images(loader, optimizer)
        self.loader, self.optimizer = loader, optimizer
        stock = set(self.model.parameters())
        before, teacher = self._before(), None
        try:
            if before.state and any(part.uses_teacher for part in self.method.parts.values()):
                teacher = FrozenTeacher(before.model(), stages=self.learning.stages)
            self._undo.append(make_student(self.model, self.method, self.learning, teacher))
            if before.state:
                grow(self.model, before.state, self.split.num_old, self.learning.new_rows)
            part_parameters = [parameter for parameter in self.model.parameters() if parameter not in stock]
            if part_parameters:
                optimizer.add_param_group(dict(params=part_parameters))
            self._get_ready(before)
        except BaseException as error:  # also where somebody stops it
            self._leave()
            if isinstance(error, ValueError) and str(error).startswith('continual.'):  # keys of a config
                raise ValueError(str(error).replace('continual.', '')) from error
            raise
        for part in self._parts():
            vars(part)[SERVED] = True
        self.previous = None  # or each step would keep all models before it
        forget_hand_over()
        self.model.train()

    def loss(self, data: Mapping[str, Any]) -> Tensor:
        """The loss of a batch, as the loader gives it: the model's own on completed labels, and the method's."""
        return self.losses(data)['loss']

    def losses(self, data: Mapping[str, Any]) -> Dict[str, Tensor]:
        """As :meth:`loss` (``loss``), and what it is the sum of, by name; accuracies too."""
        self._expect(begun=True)
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
        """Let the parts look at the images with the trained model, which is a stock one from here on.

        Args:
            path: Where to leave the hand-over file, which stock
                MMSegmentation loads too; the states of parts go beside it.
        """
        self._expect(begun=True)
        self.moments.finish()
        self.part_tensors = {name: value.clone() for name, value in part_tensors(self.model.state_dict()).items()}
        self._leave()
        self.ended = True
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            meta = dict(step=self.split.step, classes=list(self.split.seen), dataset_meta=self.dataset.metainfo)
            save_hand_over(path, {**self.model.state_dict(), **self.part_tensors}, meta)
            for name, state in self.states.items():
                save_state(part_file(path, name), state, self._classes[name])
        # The step after may keep this session while it trains.
        del self.loader, self.dataset, self.optimizer, self.moments

    def _check(self) -> None:
        check_stock(self.model)
        if self.previous is not None and not isinstance(self.previous, (StepSession, EncoderDecoder, str, Path)):
            raise TypeError(f'previous: got {type(self.previous).__name__}, expected a StepSession, a stock model or the path of '
                            'a hand-over file.')
        step, channels = self.split.step, self.split.num_seen + reserved_rows(self.model)
        if self.model.num_classes != channels:
            raise ValueError(f'model: got {self.model.num_classes} channels, expected {channels}: step {step} has '
                             f'{self.split.num_seen} seen classes. Set num_classes of its heads.')
        if (self.previous is None) != (step == 0):
            raise ValueError(f'previous: got {short(self.previous)} at step {step}; step 0 has none, others grow from it.')
        if isinstance(self.previous, StepSession) and not (
                self.previous.ended and self.previous.split.seen == self.split.old):
            raise ValueError(f'previous: got a session of step {self.previous.split.step} with the classes '
                             f'{list(self.previous.split.seen)}, expected one that has ended, with {list(self.split.old)}.')

    def _fitting_images(self, loader: DataLoader[Any], optimizer: Optimizer) -> StepDataset:
        dataset = loader.dataset
        if not isinstance(dataset, StepDataset) or dataset.split != self.split:
            raise ValueError(f'loader.dataset: got {type(dataset).__name__}, expected the StepDataset of step {self.split.step}, '
                             'with the split that the method has.')
        check_collated(loader)
        parameters = set(self.model.parameters())
        if any(parameter not in parameters for group in optimizer.param_groups for parameter in group['params']):
            raise ValueError("optimizer: it has parameters that are not those of the session's model; build it from "
                             'model.parameters().')
        if any(SERVED in vars(part) for part in self._parts()):
            raise ValueError('method: its parts have served another session; build new ones for each step.')
        return dataset

    def _parts(self) -> Iterable[Part]:
        return {**self.method.parts, **self.method.observers}.values()

    def _expect(self, begun: bool) -> None:
        state = 'ended' if self.ended else 'begun' if self._undo else 'not begun'
        if state != ('begun' if begun else 'not begun'):
            raise RuntimeError(f'the session of step {self.split.step} has {state}; begin it once, train, and end it once.')

    def _before(self) -> _Before:
        previous = self.previous
        if previous is None:
            return _Before({}, None, EncoderDecoder)
        if isinstance(previous, (str, Path)):
            state = load_hand_over(previous, self.split.old)['state_dict']
            return _Before(state, previous, lambda: narrowed(self.model, state, self.split.num_old))
        model, left = (previous.model, previous.states) if isinstance(previous, StepSession) else (previous, {})
        tensors = previous.part_tensors if isinstance(previous, StepSession) else {}
        state = {name: value.detach().clone() for name, value in {**model.state_dict(), **tensors}.items()}
        return _Before(state, left, lambda: copy.deepcopy(model))

    def _get_ready(self, before: _Before) -> None:
        if before.state and (self.learning.frozen or self.learning.row_lr):
            trained = {parameter: parameter.requires_grad for parameter in self.model.parameters()}
            self._undo.append(lambda: [parameter.requires_grad_(flag) for parameter, flag in trained.items()])
            self.model.hold_still(before.state)
        states = PartStates(before.left)
        self.moments = Moments(self.model, self._image_passes, states)
        self.states, self._classes = states.kept, states.classes
        self._undo.append(self.optimizer.register_step_pre_hook(lambda *_: self.moments.before_update()).remove)
        self.moments.begin(before.state)
        if self.model.row_rates:
            self._undo += [handle.remove for handle in hold_rows(self.optimizer, self.model, self.model.row_rates)]

    def _leave(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _image_passes(self, name: str, part: Part, student: bool) -> ImagePasses:
        return ImagePass(self.model, part.needs, student, partial(self._images, part.needs.view))

    def _images(self, view: Mapping[str, Any], number: int) -> Iterator[Dict[str, Any]]:
        """Each image of the step once, preprocessed, augmented by random numbers of its own."""
        loader = self.loader
        images = SeededImages(self.dataset.viewed(view), self.dataset.each_once(), self.seed, number)
        for data in DataLoader(images, loader.batch_size or 1, num_workers=loader.num_workers, collate_fn=loader.collate_fn):
            yield self.model.data_preprocessor(data, training=True)
