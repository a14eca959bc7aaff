"""Remembered images as a bound on updates."""
from __future__ import annotations

from numpy.random import RandomState

from ...losses.gradient_projection import project
from ...session import Training
from ..buffer import MemoryBuffer
from .replay import REPLAY_REGISTRY, Batch, Replay


@REPLAY_REGISTRY.register_module()
class GradientReference(Replay):
    """Stored images only prevent updates that would harm them (A-GEM, Chaudhry et al., ICLR 2019).

    Batches consist of new images. Right before each update the gradient of
    stored images is computed; if the update's gradient points against it,
    that component is removed. Both gradients are complete there, whatever
    accumulates or scales them.

    Args:
        images: Stored images for the reference gradient.
    """

    def begin(self, training: Training, buffer: MemoryBuffer, random: RandomState) -> None:
        super().begin(training, buffer, random)
        self._handle = training.before_updates(self.constrain)

    def before_iteration(self, batch: Batch) -> None:
        """Leave the batch as it is."""

    def constrain(self) -> None:
        """Project the gradients of the coming update."""
        drawn = self.draw(self.images * self.world_size)
        if not drawn:
            return
        # Each process needs an image, even if fewer are stored than there are processes.
        drawn = [drawn[i % len(drawn)] for i in range(max(len(drawn), self.world_size))]
        reference = self.training.gradients(self.load(self.share(drawn)))
        gradients = {p: p.grad for p in reference if p.grad is not None}
        projected = project(list(gradients.values()), [reference[p] for p in gradients])
        for parameter, gradient in zip(gradients, projected):
            parameter.grad = gradient

    def end(self) -> None:
        self._handle.remove()
