"""How remembered images enter the batches of an online step."""
from __future__ import annotations

from typing import Annotated, Any, Dict, List, Sequence

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.runner import Runner
from mmseg.registry import DATA_SAMPLERS
from numpy.random import RandomState
from pydantic import Field
from torch import Tensor

from ..arguments import Checked, Count, NotNegative
from ..datasets.stream import StreamMemory
from ..models.part_configs import Family
from .data_pass import step_dataset

Batch = Dict[str, Any]
IMAGES = 4  # remembered ones in a batch of one process


class Replay(Checked):
    """Draws remembered images for each batch; the base of all ways.

    Every process draws for all of them with equal random numbers, and takes
    its share.

    Args:
        images: Remembered images a batch of one process.
    """

    wants_confidence = False

    def __init__(self, images: Count = IMAGES) -> None:
        self.images = images

    def begin(self, runner: Runner, memory: StreamMemory, random: RandomState) -> None:
        """Take what there is to draw from, before training."""
        self.runner, self.memory, self.random = runner, memory, random

    def before_iteration(self, batch: Batch) -> None:
        """Add remembered images to a batch of new ones, in place."""
        self.add(batch, share(self.draw(self.images * get_dist_info()[1])))

    def after_iteration(self, confidence: Tensor) -> None:
        """Learn from a batch: ``[2, C]`` of :func:`class_confidence` over all processes, if wanted."""

    def end(self) -> None:
        """Let go of the runner, after training."""

    def draw(self, number: int) -> List[int]:
        """Numbers in ``memory.found`` of stored images, each at most once; fewer if fewer are stored."""
        kept = self.memory.kept
        return self.random.choice(kept, min(number, len(kept)), replace=False).tolist() if kept else []

    def load(self, images: Sequence[int]) -> List[Dict[str, Any]]:
        """Remembered images, augmented."""
        dataset = step_dataset(self.runner)
        return [dataset.load_exemplar(self.memory.found[i].exemplar) for i in images]

    def add(self, batch: Batch, images: Sequence[int]) -> None:
        """Add stored images to a batch."""
        extend(batch, self.load(images))


REPLAYS = Family(DATA_SAMPLERS, Replay, 'a replay')


def extend(batch: Batch, loaded: Sequence[Dict[str, Any]]) -> None:
    """Add loaded images to a batch, in place."""
    for one in loaded:
        for key, values in batch.items():
            values.append(one[key])


def share(images: Sequence[int]) -> List[int]:
    """This process's share of what is drawn for all."""
    rank, world_size = get_dist_info()
    return list(images[rank::world_size])


@DATA_SAMPLERS.register_module()
class UniformReplay(Replay):
    """Experience replay: any stored images (ER, Chaudhry et al., 2019)."""


@DATA_SAMPLERS.register_module()
class DynamicReplay(Replay):
    """Images of those classes that the model is not sure of (online EM, section 3.4).

    For each place a class is drawn, the surer the model is of it the more
    rarely, and then any stored image that shows it. A class that no stored
    image shows is not drawn.

    Args:
        images: See :class:`Replay`.
        eta: How much the draw depends on the confidence (1 on VOC, 10 on
            ADE20K).
        momentum: Of the confidence of each class, the paper's mu.
    """

    wants_confidence = True

    def __init__(self, images: Count = IMAGES, eta: NotNegative = 1.0,
                 momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9) -> None:
        super().__init__(images)
        self.eta = eta
        self.momentum = momentum

    def begin(self, runner: Runner, memory: StreamMemory, random: RandomState) -> None:
        super().begin(runner, memory, random)
        dataset = step_dataset(runner)
        self._first = dataset.split.first_foreground
        before = dataset.remembered.memory.confidence
        # New classes start at 0: they are drawn first.
        self.confidence = np.array([before.get(name, 0.0) for name in memory.classes])

    def after_iteration(self, confidence: Tensor) -> None:
        sums, counts = confidence.cpu().double().numpy()[:, self._first:self._first + len(self.confidence)]
        mean = sums / np.maximum(counts, 1)
        updated = self.momentum * self.confidence + (1 - self.momentum) * mean
        self.confidence = np.where(counts > 0, updated, self.confidence)

    def draw(self, number: int) -> List[int]:
        kept = np.array(self.memory.kept, dtype=int)
        holds = self.memory.holds[kept]
        shown = np.flatnonzero(np.any(holds, axis=0))
        if not len(shown):
            return []
        classes = self.random.choice(shown, number, p=class_probabilities(self.confidence[shown], self.eta))
        return [int(self.random.choice(kept[holds[:, c]])) for c in classes]


def class_probabilities(confidence: np.ndarray, eta: float) -> np.ndarray:
    """``[C]`` probabilities that fall with the confidence, ``[C]`` in 0 to 1 (online EM, eq. 9)."""
    scores = np.exp(-eta * (confidence - confidence.min()))
    return scores / scores.sum()
