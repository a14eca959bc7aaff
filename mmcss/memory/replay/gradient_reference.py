"""Remembered images as a bound on updates."""
from __future__ import annotations

from numpy.random import RandomState

from ...losses.gradient_projection import project
from ...session import Training
from ..buffer import MemoryBuffer
from .replay import REPLAY_REGISTRY, Batch, Replay


@REPLAY_REGISTRY.register_module()
class GradientReference(Replay):
    """Stored images only keep the update from harming them (A-GEM, Chaudhry et al., ICLR 2019).

    Batches hold new images alone. Right before each update the gradient of
    stored images is taken; if the update's points against it, that part is
    taken out. Both gradients are whole there, whatever accumulates or scales
    them.

    Args:
        images: Stored images that the reference is taken of.
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
        # Fewer are stored than there are processes: each takes part in the gradient all the same.
        drawn = [drawn[i % len(drawn)] for i in range(max(len(drawn), self.world_size))]
        reference = self.training.gradients(self.load(self.share(drawn)))
        gradients = {p: p.grad for p in reference if p.grad is not None}
        projected = project(list(gradients.values()), [reference[p] for p in gradients])
        for parameter, gradient in zip(gradients, projected):
            parameter.grad = gradient

    def end(self) -> None:
        self._handle.remove()
