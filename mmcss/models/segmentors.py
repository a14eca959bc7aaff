"""Stock segmentors that learn the classes of one step."""
from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Sequence

import torch
from mmengine.dist import get_world_size
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..arguments import make
from ..parts import Needs, StepBatch
from ..scenario import Split
from .backbones import evaluated_features
from .part_modules import PART_MODULES, add_part_modules, replace_modules, stock_tensors
from .extended_segmentors import ExtendedCascadeEncoderDecoder, ExtendedEncoderDecoder, Stock
from .freezing import backbone_is_frozen, freeze, frozen_modules
from .growing import folded, unfolded
from .growth import Widening, grow, growing_tensors, widening
from .hand_over import load_hand_over
from .method import Learning, Method
from .over_processes import means_over_processes
from .taps import check_modules, preset_features, watch_training
from .teacher import FrozenTeacher, predict


class ContinualMixin(Stock):
    """Turns a stock segmentor into the student of one step.

    The stock model computes its losses, on completed labels and with the
    method's pixel weights, while its logits and features are read; the
    method's losses are added to them. State dict and prediction are the stock
    model's.

    Args:
        continual: Settings that the step's config adds to the model's:
            ``split`` (:meth:`Split.to_dict`), ``targets`` and ``losses`` (see
            :class:`Method`), ``previous`` (hand-over file to grow from, or
            None), ``teacher`` (stock config of the step before, or None), and
            those of :class:`Learning`.

    Attributes:
        row_rates: Factors on the learning rate of parameters whose rows
            differ, see :func:`freeze`.
        replaced: Modules of the stock model that parts have replaced, by name.
        previous_id: Id of the hand-over that it has grown from.
    """

    previous: Optional[str] = None
    replaced: Mapping[str, nn.Module] = {}
    _is_observed = True

    def __init__(self, *args: Any, continual: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        method = Method(Split.from_dict(continual['split']), continual.get('targets'), continual.get('losses'))
        settings = {key.name: continual[key.name] for key in fields(Learning) if key.name in continual}
        learning = make(Learning, settings, 'continual')
        previous, teacher = continual.get('previous'), continual.get('teacher')
        self.take_method(method, learning, FrozenTeacher(teacher, previous or '', learning.stages) if teacher else None)
        self.previous = previous
        # Without a hand-over (as in a plan) nothing is trained.
        if (learning.frozen or learning.row_lr) and previous is not None and Path(previous).is_file():
            self.freeze(load_hand_over(previous, self.split.old)['state_dict'])

    def take_method(self, method: Method, learning: Learning, teacher: Optional[FrozenTeacher] = None) -> None:
        """Become the student of a method's step.

        Raises:
            ValueError: The method does not support this model.
        """
        self.split, self.method = method.split, method
        unable = [name for name, part in method.parts.items() if not part.takes_unknown]
        unable += [type(module).__name__ for module in self.modules() if getattr(module, 'reads_batch', False)]
        if self.unknown and unable:
            raise ValueError(f'continual.unknown: {unable} can not handle the channel of the unknown class; '
                             'remove them, or continual.unknown.')
        self.learning = learning
        self.previous_id: Optional[str] = None
        self.tapped_stages = tuple(learning.stages)
        replacements = add_part_modules(self, method.parts)
        self.replaced = {name: self.get_submodule(name) for name in replacements}
        self._replace(replacements)
        check_modules(self, self.tapped_stages, 'continual.stages')
        for name, part in {**method.parts, **method.observers}.items():
            check_modules(self, (*part.needs.outputs, *part.needs.inputs), f"the part '{name}' (Needs)")
        self.teacher = teacher
        self.row_rates: Dict[str, Tensor] = {}

    def _replace(self, modules: Mapping[str, nn.Module]) -> None:
        """Replace modules by those of parts, which start from their tensors."""
        if modules:
            state = self.state_dict()
            replace_modules(self, modules)
            self.load_handed_over(state)

    def load_handed_over(self, state: Mapping[str, Tensor]) -> None:
        """Load the state dict of this step's hand-over."""
        self.load_state_dict(dict(unfolded(self, state)), strict=True)

    def tensors_to_hand_over(self) -> Dict[str, Tensor]:
        """The state dict to hand over: tensors with stock names, then those of the modules of parts."""
        return dict(folded(self, self.state_dict()))

    def remove_part_modules(self) -> None:
        """Remove the modules of parts; the modules that they replaced get their tensors."""
        state = stock_tensors(self.tensors_to_hand_over())
        replace_modules(self, self.replaced)
        self._modules.pop(PART_MODULES, None)
        if self.replaced:
            self.load_state_dict(state, strict=True)

    def freeze(self, old: Mapping[str, Tensor]) -> None:
        """Call :func:`freeze` on the model, which grows from the step before (``old``: its state dict)."""
        _, axes = growing_tensors(self, old, self.split.num_old)
        self.row_rates = freeze(self, self.split, axes.rows, self.learning.frozen, self.learning.row_lr)

    def train(self, mode: bool = True) -> ContinualMixin:
        """As of any module; frozen modules stay in evaluation mode."""
        super().train(mode)
        if self.learning.frozen and self.split.step > 0:
            # Not stored: a runner exchanges norm layers (SyncBN) after the model is built.
            for module in frozen_modules(self):
                module.eval()
        return self

    def init_weights(self) -> None:
        """Initialise as the stock model does, then grow from the step before."""
        # Of parts; a runner may have exchanged some (SyncBN).
        replacements = {name: self.get_submodule(name) for name in self.replaced}
        replace_modules(self, self.replaced)  # pretrained weights have stock names
        super().init_weights()
        self._replace(replacements)
        if self.previous is not None:
            old = load_hand_over(self.previous, self.split.old)
            self.previous_id = old['meta']['id']
            grow(self, old['state_dict'], len(old['meta']['classes']), self.learning.new_rows)

    def widening(self, old: Mapping[str, Tensor]) -> Widening:
        """The :class:`Widening` of tensors of the step before (``old``: its state dict) to the shapes of this model."""
        _, axes = growing_tensors(self, old, self.split.num_old, self.learning.new_rows)
        return widening(self, axes, self.split.num_old)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> Dict[str, Tensor]:
        """Stock losses on completed labels, and the method's losses.

        Args:
            inputs: ``[N, 3, H, W]`` preprocessed images.
            data_samples: Their labels of this step.
        """
        readers = [module for module in self.modules() if getattr(module, 'reads_batch', False)]
        if not self.method.parts and not readers:
            with self._means_over_processes(lambda: self.labels_of(data_samples)):
                return super().loss(inputs, data_samples)
        needs = self.method.needs | Needs(labelled=bool(readers))
        with self._shared_backbone(inputs):
            batch = self.predict_batch(inputs, data_samples, needs)
            self.method.complete_targets(batch)
            for reader in readers:
                reader.batch = batch
            if batch.target is not batch.raw_target:
                data_samples = with_targets(data_samples, batch.target)
            size = (batch.target.shape[1], batch.target.shape[2])
            with self._means_over_processes(lambda: batch), watch_training(self, needs, size, batch.pixel_weight) as watched:
                losses = super().loss(inputs, data_samples)
        for reader in readers:
            reader.batch = None
        batch.student = watched.prediction(size, self.align_corners)
        losses.update(self.method.losses(batch))
        if self._is_observed:
            self.method.observe(batch)
        return losses

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Within it parts don't observe batches: their losses are computed, but not trained on."""
        self._is_observed = False
        try:
            yield
        finally:
            self._is_observed = True

    def _means_over_processes(self, batch: Callable[[], StepBatch]) -> ContextManager[None]:
        """A context in which losses are means over the images of all processes, with ``over_processes``."""
        if not self.learning.over_processes or get_world_size() == 1:
            return nullcontext()
        return means_over_processes(self, batch())

    @contextmanager
    def _shared_backbone(self, inputs: Tensor) -> Iterator[None]:
        """Run a frozen backbone once for both student and teacher, whose backbones are the same."""
        needs = self.method.needs
        reads_features = needs.stages or needs.backbone_output or needs.attention or any(
            name.split('.')[0] in ('backbone', 'neck') for name in (*needs.outputs, *needs.inputs))
        if self.teacher is None or not self.learning.frozen or reads_features or not backbone_is_frozen(self):
            yield
            return
        with torch.no_grad():
            features = self.extract_feat(inputs)
        teacher = self.teacher.build(inputs.device)
        with preset_features(self, features), preset_features(teacher, evaluated_features(self.backbone, features)):
            yield

    def predict_batch(self, inputs: Tensor, data_samples: Sequence[SegDataSample], needs: Needs,
                      student: bool = False) -> StepBatch:
        """A batch with its labels and the teacher's prediction, or else the student's."""
        batch = self.labels_of(data_samples, needs.labelled)
        size = (batch.target.shape[1], batch.target.shape[2])
        if student:
            batch.student = predict(self, inputs, size, needs)
        elif self.teacher is not None:
            batch.teacher = self.teacher.predict(inputs, size, needs)
        return batch

    def labels_of(self, data_samples: Sequence[SegDataSample], labelled: bool = False) -> StepBatch:
        """A batch with its labels only, and :attr:`StepBatch.labelled` if asked for."""
        target = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).squeeze(1)
        batch = StepBatch(split=self.split, raw_target=target, target=target)
        if labelled:
            batch.labelled = torch.stack([sample.labelled for sample in data_samples])
        return batch


def with_targets(data_samples: Sequence[SegDataSample], target: Tensor) -> List[SegDataSample]:
    """Copies of data samples with other labels, ``[N, H, W]``."""
    copies = []
    for sample, labels in zip(data_samples, target):
        copy = sample.new()
        copy.gt_sem_seg = PixelData(data=labels[None])
        copies.append(copy)
    return copies


@MODELS.register_module()
class ContinualEncoderDecoder(ContinualMixin, ExtendedEncoderDecoder):
    """:class:`mmseg.models.EncoderDecoder` that learns the classes of one step."""


@MODELS.register_module()
class ContinualCascadeEncoderDecoder(ContinualMixin, ExtendedCascadeEncoderDecoder):
    """:class:`mmseg.models.CascadeEncoderDecoder` that learns the classes of one step."""
