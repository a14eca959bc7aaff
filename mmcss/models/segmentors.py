"""Stock segmentors that learn the classes of one step."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..parts import StepBatch
from ..scenario import Split
from .growth import grow
from .hand_over import load_hand_over
from .method import Method
from .taps import watch_training
from .teacher import FrozenTeacher


class ContinualMixin:
    """Turns a stock segmentor into the student of one step.

    The stock model computes its own losses, on completed labels and with the
    method's pixel weights, while its logits and features are watched; the
    method's losses are added to them. State dict and prediction are the stock
    model's.

    Args:
        continual: What the step's config adds to the model's: ``split``
            (:meth:`Split.to_dict`), ``targets`` and ``losses`` (see
            :class:`Method`), ``new_rows`` (see :func:`grow`), ``previous``
            (hand-over file to grow from, or None) and ``teacher`` (stock
            config of the step before, or None).
    """

    def __init__(self, *args: Any, continual: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.split = Split.from_dict(continual['split'])
        self.method = Method(self.split, continual.get('targets'), continual.get('losses'))
        self.new_rows: str = continual.get('new_rows', 'random')
        self.previous: Optional[str] = continual.get('previous')
        teacher = continual.get('teacher')
        self.teacher = FrozenTeacher(teacher, self.previous) if teacher else None

    def init_weights(self) -> None:
        """Initialise as the stock model does, then grow from the step before."""
        super().init_weights()
        if self.previous is not None:
            old = load_hand_over(self.previous, self.split.old)
            grow(self, old['state_dict'], len(old['meta']['classes']), self.new_rows)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> Dict[str, Tensor]:
        """Stock losses on completed labels, and the method's losses.

        Args:
            inputs: ``[N, 3, H, W]`` preprocessed images.
            data_samples: Their labels of this step.
        """
        if not self.method.parts:
            return super().loss(inputs, data_samples)
        batch = self.look(inputs, data_samples)
        self.method.complete_targets(batch)
        if batch.target is not batch.raw_target:
            data_samples = with_targets(data_samples, batch.target)
        size = tuple(batch.target.shape[1:])
        with watch_training(self, self.method.needs, size, batch.pixel_weight) as seen:
            losses = super().loss(inputs, data_samples)
        batch.student = seen.prediction(size, self.align_corners)
        losses.update(self.method.losses(batch))
        return losses

    def look(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> StepBatch:
        """A batch with its labels and the teacher's prediction."""
        target = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).squeeze(1)
        batch = StepBatch(split=self.split, raw_target=target, target=target)
        if self.teacher is not None:
            batch.teacher = self.teacher.predict(inputs, tuple(target.shape[1:]), self.method.needs)
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
class ContinualEncoderDecoder(ContinualMixin, EncoderDecoder):
    """:class:`mmseg.models.EncoderDecoder` that learns the classes of one step."""


@MODELS.register_module()
class ContinualCascadeEncoderDecoder(ContinualMixin, CascadeEncoderDecoder):
    """:class:`mmseg.models.CascadeEncoderDecoder` that learns the classes of one step."""
