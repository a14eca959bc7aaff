"""Replay of what an update would harm."""
from __future__ import annotations

from typing import Any, Dict, Sequence

import torch
from mmengine.dist import all_gather, get_dist_info
from mmengine.runner import Runner
from mmseg.registry import DATA_SAMPLERS
from numpy.random import RandomState
from torch import Tensor, nn

from ..arguments import Count
from ..datasets.stream import StreamMemory
from ..evaluation.step_scores import evaluating
from ..random_state import kept_random_state
from .before_updates import one_optimizer
from .data_pass import bare_model, training_precision
from .loss_gradients import kept_tensors, loss_gradients, preprocessed
from .replays import IMAGES, Batch, Replay, share


@DATA_SAMPLERS.register_module()
class InterferedReplay(Replay):
    """Those stored images that an update on the new ones would harm most (MIR, Aljundi et al., NeurIPS 2019).

    The update is tried (without momentum) and taken back.
    Authors' code: https://github.com/optimass/Maximally_Interfered_Retrieval

    Args:
        images: See :class:`Replay`.
        candidates: Stored images that are judged, over all processes.
    """

    def __init__(self, images: Count = IMAGES, candidates: Count = 50) -> None:
        super().__init__(images)
        if candidates < images:
            raise ValueError(f'candidates: got {candidates}, expected at least as many as images, {images}.')
        self.candidates = candidates

    def begin(self, runner: Runner, memory: StreamMemory, random: RandomState) -> None:
        super().begin(runner, memory, random)
        self._optimizer = one_optimizer(runner)

    def before_iteration(self, batch: Batch) -> None:
        world_size = get_dist_info()[1]
        drawn = self.draw(self.candidates)
        wanted = self.images * world_size
        if len(drawn) <= wanted:
            self.add(batch, share(drawn))
            return
        # As many for each process, so that their scores can be gathered.
        drawn = drawn[:len(drawn) // world_size * world_size]
        model = bare_model(self.runner)
        with kept_random_state():
            candidates = self.load(share(drawn))
        with kept_random_state(), kept_tensors([*model.parameters(), *model.buffers()]):
            before = self._losses(candidates)
            gradients = loss_gradients(self.runner, batch)
            with torch.no_grad():
                for group in self._optimizer.param_groups:
                    for parameter in group['params']:
                        if parameter in gradients:
                            parameter.sub_(group['lr'] * gradients[parameter])
            interference = self._losses(candidates) - before
        scores = torch.stack(all_gather(interference)).T.flatten()  # in the order of the draw
        chosen = [drawn[i] for i in scores.topk(wanted).indices.tolist()]
        self.add(batch, share(chosen))

    @torch.no_grad()
    def _losses(self, candidates: Sequence[Dict[str, Any]]) -> Tensor:
        """``[n]`` mean cross-entropy over the labelled pixels of each image, in evaluation mode."""
        model, losses = bare_model(self.runner), []
        with evaluating(model):
            for start in range(0, len(candidates), 8):
                part = candidates[start:start + 8]
                data = preprocessed(self.runner, {key: [one[key] for one in part] for key in part[0]})
                with training_precision(self.runner):
                    logits = model.encode_decode(data['inputs'], [sample.metainfo for sample in data['data_samples']])
                target = model.labels_of(data['data_samples']).target
                logits = nn.functional.interpolate(
                    logits.float(), target.shape[1:], mode='bilinear', align_corners=model.align_corners)
                loss = nn.functional.cross_entropy(logits, target, ignore_index=255, reduction='none')
                losses.append(loss.sum(dim=(1, 2)) / (target != 255).sum(dim=(1, 2)).clamp(min=1))
        return torch.cat(losses)
