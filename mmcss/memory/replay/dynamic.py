"""Replay of classes that the model is unsure of (online EM, Yan et al., ACM MM 2021)."""
from __future__ import annotations

from typing import Annotated, List

import numpy as np
from numpy.random import RandomState
from pydantic import Field
from torch import Tensor

from ...arguments import NotNegative
from ...session import Training
from ..buffer import MemoryBuffer
from .replay import IMAGES, REPLAY_REGISTRY, Images, Replay


@REPLAY_REGISTRY.register_module()
class DynamicReplay(Replay):
    """Images of classes that the model is unsure of (online EM, section 3.4).

    For each image a class is drawn, more rarely the surer the model is of it,
    and then any stored image that shows it. A class that no stored image
    shows is not drawn.

    Args:
        images: See :class:`Replay`.
        eta: How much the draw depends on the confidence (1 on VOC, 10 on ADE20K).
        momentum: Of the confidence of each class, the paper's mu.
    """

    uses_confidence = True
    confidence: np.ndarray

    def __init__(self, images: Images = IMAGES, eta: NotNegative = 1.0,
                 momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9) -> None:
        super().__init__(images)
        self.eta = eta
        self.momentum = momentum

    def begin(self, training: Training, buffer: MemoryBuffer, random: RandomState) -> None:
        super().begin(training, buffer, random)
        before = buffer.dataset.memory.confidence
        # New classes start at 0: they are drawn first.
        self.confidence = np.array([before.get(name) or 0.0 for name in buffer.classes])

    def after_iteration(self, confidence: Tensor) -> None:
        first = self.buffer.dataset.split.first_foreground
        sums, counts = confidence.cpu().double().numpy()[:, first:first + len(self.confidence)]
        updated = self.momentum * self.confidence + (1 - self.momentum) * sums / np.maximum(counts, 1)
        self.confidence = np.where(counts > 0, updated, self.confidence)

    def draw(self, number: int) -> List[int]:
        stored = np.array(self.buffer.stored, dtype=int)
        holds = self.buffer.holds[stored]
        shown = np.flatnonzero(np.any(holds, axis=0))
        if not len(shown):
            return []
        classes = self.random.choice(shown, number, p=class_probabilities(self.confidence[shown], self.eta))
        return [int(self.random.choice(stored[holds[:, c]])) for c in classes]


def class_probabilities(confidence: np.ndarray, eta: float) -> np.ndarray:
    """``[C]`` probabilities that fall with the confidence, ``[C]`` in 0 to 1 (online EM, eq. 9)."""
    scores = np.exp(-eta * (confidence - confidence.min()))
    return scores / scores.sum()
