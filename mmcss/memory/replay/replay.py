"""How remembered images take part in the iterations of an online step: the base of all replays, and ER."""
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
IMAGES = 4  # remembered images in a batch of one process
Images = Annotated[int, Field(ge=1, le=2**16)]  # as many as batch_size may be


class Replay(Checked):
    """Draws remembered images for each batch.

    Every process draws for all of them with equal random numbers, and takes
    its share.
    Replays that need the model's confidence set ``uses_confidence``.

    Args:
        images: Remembered images in a batch of one process.

    Attributes:
        confidence: ``[C]`` how sure the model is of each foreground class
            seen so far, in 0 to 1 (replays that need it).
    """

    uses_confidence: bool = False
    confidence: Optional[np.ndarray] = None

    def __init__(self, images: Images = IMAGES) -> None:
        self.images = images

    def begin(self, training: Training, buffer: MemoryBuffer, random: RandomState) -> None:
        """Called before training, with what to draw from."""
        self.training, self.buffer, self.random = training, buffer, random
        self.rank, self.world_size = get_dist_info()

    def before_iteration(self, batch: Batch) -> None:
        """Add remembered images to a batch of new ones, in place."""
        self.add(batch, self.share(self.draw(self.images * self.world_size)))

    def after_iteration(self, confidence: Tensor) -> None:
        """Called after each batch with its :func:`class_confidence` over all processes, if the replay uses it."""

    def end(self) -> None:
        """Called after training."""

    def draw(self, number: int) -> List[int]:
        """Numbers of stored images (:attr:`MemoryBuffer.stored`), each at most once; fewer if fewer are stored."""
        stored = self.buffer.stored
        return self.random.choice(stored, min(number, len(stored)), replace=False).tolist() if stored else []

    def share(self, images: Sequence[int]) -> List[int]:
        """This process's share of the images drawn for all."""
        return list(images[self.rank::self.world_size])

    def load(self, images: Sequence[int]) -> Batch:
        """Stored images, at least one, as an augmented batch."""
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


@REPLAY_REGISTRY.register_module()
class UniformReplay(Replay):
    """Experience replay: any stored images (ER, Chaudhry et al., 2019)."""
