"""How remembered images take part in the iterations of an online step: the base of all ways."""
from __future__ import annotations

from typing import Annotated, Any, Dict, List, Optional, Sequence

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.registry import Registry
from numpy.random import RandomState
from pydantic import Field
from torch import Tensor

from ...arguments import Checked
from ...models.part_configs import Family
from ...session import Training
from ..buffer import MemoryBuffer

Batch = Dict[str, List[Any]]
IMAGES = 4  # remembered ones in a batch of one process
Images = Annotated[int, Field(ge=1, le=2**16)]  # as many as batch_size may be


class Replay(Checked):
    """Draws remembered images for each batch.

    Every process draws for all of them with equal random numbers, and takes
    its share.
    Those that ask how sure the model is of each class set ``uses_confidence``.

    Args:
        images: Remembered images a batch of one process.

    Attributes:
        confidence: ``[C]`` how sure the model is of each foreground class
            seen so far, in 0 to 1, if that is asked for.
    """

    uses_confidence: bool = False
    confidence: Optional[np.ndarray] = None

    def __init__(self, images: Images = IMAGES) -> None:
        self.images = images

    def begin(self, training: Training, buffer: MemoryBuffer, random: RandomState) -> None:
        """Take what there is to draw from, before training."""
        self.training, self.buffer, self.random = training, buffer, random
        self.rank, self.world_size = get_dist_info()

    def before_iteration(self, batch: Batch) -> None:
        """Add remembered images to a batch of new ones, in place."""
        self.add(batch, self.share(self.draw(self.images * self.world_size)))

    def after_iteration(self, confidence: Tensor) -> None:
        """Learn from a batch: ``[2, C]`` of :func:`class_confidence` over all processes, if asked for."""

    def end(self) -> None:
        """Let go of the training, behind it."""

    def draw(self, number: int) -> List[int]:
        """Numbers of stored images (:attr:`MemoryBuffer.stored`), each at most once; fewer if fewer are stored."""
        stored = self.buffer.stored
        return self.random.choice(stored, min(number, len(stored)), replace=False).tolist() if stored else []

    def share(self, images: Sequence[int]) -> List[int]:
        """This process's share of what is drawn for all."""
        return list(images[self.rank::self.world_size])

    def load(self, images: Sequence[int]) -> Batch:
        """Stored images as a batch, augmented; at least one."""
        loaded = [self.buffer.load(image) for image in images]
        return {key: [sample[key] for sample in loaded] for key in loaded[0]}

    def add(self, batch: Batch, images: Sequence[int]) -> None:
        """Add stored images to a batch, in place."""
        if images:
            loaded = self.load(images)
            for key, values in batch.items():
                values.extend(loaded[key])


REPLAY_REGISTRY = Registry('replay', scope='mmseg', locations=['mmcss.memory.replay'])
REPLAYS = Family(REPLAY_REGISTRY, Replay, 'a replay')
