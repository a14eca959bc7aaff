"""Remembered images as a bound on updates."""
from __future__ import annotations

from mmengine.dist import get_dist_info
from mmengine.runner import Runner
from mmseg.registry import DATA_SAMPLERS
from numpy.random import RandomState

from ..datasets.stream import StreamMemory
from ..losses.gradient_projection import project
from .before_updates import before_updates
from .loss_gradients import loss_gradients
from .replays import Batch, Replay, share


@DATA_SAMPLERS.register_module()
class GradientReference(Replay):
    """Stored images only keep the update from harming them (A-GEM, Chaudhry et al., ICLR 2019).

    Batches hold new images alone. Right before each update the gradient of
    stored images is taken; if the update's points against it, that part is
    taken out. Both gradients are whole there, whatever accumulates or scales
    them.

    Args:
        images: Stored images that the reference is taken of.
    """

    def begin(self, runner: Runner, memory: StreamMemory, random: RandomState) -> None:
        super().begin(runner, memory, random)
        self._handle = before_updates(runner, self.constrain)

    def before_iteration(self, batch: Batch) -> None:
        """Leave the batch as it is."""

    def constrain(self) -> None:
        """Project the gradients of the coming update."""
        world_size = get_dist_info()[1]
        drawn = self.draw(self.images * world_size)
        if not drawn:
            return
        # Fewer are stored than there are processes: each takes part in the gradient all the same.
        drawn = [drawn[i % len(drawn)] for i in range(max(len(drawn), world_size))]
        images = self.load(share(drawn))
        batch = {key: [one[key] for one in images] for key in images[0]}
        reference = loss_gradients(self.runner, batch)
        gradients = {p: p.grad for p in reference if p.grad is not None}
        projected = project(list(gradients.values()), [reference[p] for p in gradients])
        for parameter, gradient in zip(gradients, projected):
            parameter.grad = gradient

    def end(self) -> None:
        self._handle.remove()
