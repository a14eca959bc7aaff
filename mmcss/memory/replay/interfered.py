"""Replay of the images that an update would harm."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Sequence

import torch
from mmengine.dist import all_gather
from numpy.random import RandomState
from torch import Tensor, nn

from ...arguments import Count
from ...evaluation.step_scores import evaluating
from ...random_state import preserved_random_state
from ...scenario import IGNORE
from ...session import Training
from ..buffer import MemoryBuffer
from .replay import IMAGES, REPLAY_REGISTRY, Batch, Images, Replay


@REPLAY_REGISTRY.register_module()
class InterferedReplay(Replay):
    """The stored images that an update on the new ones would harm most (MIR, Aljundi et al., NeurIPS 2019).

    The update is tried (without momentum) and undone.
    Authors' code: https://github.com/optimass/Maximally_Interfered_Retrieval

    Args:
        images: See :class:`Replay`.
        candidates: Stored images to choose from, over all processes.
    """

    def __init__(self, images: Images = IMAGES, candidates: Count = 50) -> None:
        super().__init__(images)
        if candidates < images:
            raise ValueError(f'candidates: got {candidates}, expected at least as many as images, {images}.')
        self.candidates = candidates

    def begin(self, training: Training, buffer: MemoryBuffer, random: RandomState) -> None:
        super().begin(training, buffer, random)
        self._optimizer = training.optimizer

    def before_iteration(self, batch: Batch) -> None:
        drawn, wanted = self.draw(self.candidates), self.images * self.world_size
        if len(drawn) <= wanted:
            self.add(batch, self.share(drawn))
            return
        # The same number for each process, so that their scores can be gathered.
        drawn = drawn[:len(drawn) // self.world_size * self.world_size]
        model = self.training.model
        with preserved_random_state():
            candidates = self.load(self.share(drawn))
        with preserved_random_state(), preserved_tensors([*model.parameters(), *model.buffers()]):
            before = self._losses(candidates)
            gradients = self.training.gradients(batch)
            with torch.no_grad():
                for group in self._optimizer.param_groups:
                    for parameter in group['params']:
                        if parameter in gradients:
                            parameter.sub_(group['lr'] * gradients[parameter])
            interference = self._losses(candidates) - before
        scores = torch.stack(all_gather(interference)).T.flatten()  # in the order of the draw
        self.add(batch, self.share([drawn[i] for i in scores.topk(wanted).indices.tolist()]))

    @torch.no_grad()
    def _losses(self, candidates: Batch) -> Tensor:
        """``[n]`` mean cross-entropy over the labelled pixels of each image, in evaluation mode."""
        model, losses = self.training.model, []
        with evaluating(model):
            for start in range(0, len(candidates['inputs']), 8):
                data = self.training.preprocessed({key: values[start:start + 8] for key, values in candidates.items()})
                with self.training.precision():
                    logits = model.encode_decode(data['inputs'], [sample.metainfo for sample in data['data_samples']])
                target = model.labels_of(data['data_samples']).target
                logits = nn.functional.interpolate(
                    logits.float(), target.shape[1:], mode='bilinear', align_corners=model.align_corners)
                loss = nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction='none')
                losses.append(loss.sum(dim=(1, 2)) / (target != IGNORE).sum(dim=(1, 2)).clamp(min=1))
        return torch.cat(losses)


@contextmanager
def preserved_tensors(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Restore tensors after the block, bit by bit."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before):
                tensor.copy_(value)
