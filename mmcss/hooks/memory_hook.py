"""Chooses what later steps replay."""
from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.random import RandomState
from torch import Tensor, nn

from ..datasets import StepDataset
from ..datasets.exemplars import ExemplarMemory
from ..datasets.policies import POLICIES, USES_FEATURES, Candidates
from ..datasets.remembering import Candidate, candidates_of, write_copies
from ..losses.prototypes import class_sums
from ..models.taps import decode_heads
from ..parts import Needs
from .data_pass import Pass, averaged_model


@HOOKS.register_module()
class MemoryHook(Hook):
    """Chooses, at the end of a step, the images that later steps replay.

    Candidates are the images remembered so far and those of the step. All
    processes together choose as one would.

    Args:
        path: ``memory.json`` of the step.
        size: Most images to remember.
        policy: Name of a policy in :data:`POLICIES`.
        export: Whether to keep copies of images and labels beside the file,
            so that the data set may be deleted.
    """

    # After the parts' last look, before the hand-over, which says that a step is whole.
    priority = 'NORMAL'

    def __init__(self, path: str, size: int, policy: str = 'class_balanced',
                 export: bool = False) -> None:
        if policy not in POLICIES:
            raise ValueError(f'memory.policy: got {policy!r}, valid are {", ".join(POLICIES)}.')
        if size < 0:
            raise ValueError(f'memory.size: got {size}, expected at least 0.')
        self.path = Path(path)
        self.size = size
        self.policy = policy
        self.export = export

    def after_train(self, runner: Runner) -> None:
        self.finish_step(runner)

    def finish_step(self, runner: Runner) -> None:
        """Choose and write; also called for a step that was trained elsewhere."""
        dataset = runner.train_dataloader.dataset
        found = candidates_of(dataset)
        classes = dataset.split.foreground(dataset.split.seen)
        if 0 < self.size < len(classes):
            runner.logger.warning(f'memory.size: {self.size} images can not stand for {len(classes)} classes')
        before = dataset.remembered.memory if dataset.remembered else ExemplarMemory()
        candidates = Candidates(
            holds=np.array([[name in one.exemplar.holds for name in classes] for one in found], dtype=bool).reshape(
                len(found), len(classes)),
            remembered=np.array([one.remembered for one in found], dtype=bool),
            images_seen=before.images_seen,
            classes_seen=np.array([before.classes_seen.get(name, 0) for name in classes]))
        if self.policy in USES_FEATURES:
            candidates.class_features, candidates.certainty = self._look(runner, found, candidates.holds)
        random = RandomState([(runner.seed or 0) % 2**32, dataset.split.step])
        chosen = POLICIES[self.policy](candidates, self.size, random)
        if is_main_process():
            self._write(dataset, [found[i] for i in chosen], candidates, before, classes)
        barrier()

    def _write(self, dataset: StepDataset, chosen: List[Candidate], candidates: Candidates, before: ExemplarMemory,
               classes: Tuple[str, ...]) -> None:
        fresh = ~candidates.remembered
        known = np.maximum(candidates.classes_seen, candidates.holds[~fresh].sum(axis=0))
        seen = dict(zip(classes, (known + candidates.holds[fresh].sum(axis=0)).tolist()))
        # What is a copy stays one: its file of the step before may go.
        copied = [one for one in chosen if self.export or one.exemplar.image]
        exemplars = write_copies(dataset, copied, self.path.parent) if copied else []
        exemplars += [one.exemplar for one in chosen if not (self.export or one.exemplar.image)]
        ExemplarMemory(exemplars, before.images_seen + int(fresh.sum()), seen).save(self.path)

    def _look(self, runner: Runner, found: List[Candidate], holds: np.ndarray) -> Tuple[List[np.ndarray], np.ndarray]:
        """``class_features`` and ``certainty`` of the candidates (:class:`Candidates`)."""
        head = decode_heads(averaged_model(runner))[-1]
        numbers = [number for one in found for number in one.numbers]
        own = []
        for batch in Pass(runner, Needs(embedding=True), student=True, images=numbers):
            features, target = batch.student.embedding, batch.raw_target - 1  # the background is left out
            sums, counts = class_sums(features, target, holds.shape[1], batch.student.align_corners)
            sums, shown = sums.cpu().numpy(), (counts > 0).cpu().numpy()
            surety = certainty(head, features).tolist()
            # Only the classes that an image shows are kept, of up to 150.
            own.extend((dict(zip(np.flatnonzero(mask), values[mask])), sure)
                       for values, mask, sure in zip(sums, shown, surety))
        # Processes took turns in the order of the numbers.
        shares = all_gather_object(own)
        looks = iter(shares[i % len(shares)][i // len(shares)] for i in range(len(numbers)))
        grouped = [[next(looks) for _ in one.numbers] for one in found]
        width = next((len(vector) for vectors, _ in chain(*grouped) for vector in vectors.values()), 1)
        nothing = np.zeros(width, dtype=np.float32)  # a crop may lose a class
        features = []
        for c in range(holds.shape[1]):
            rows = [sum((vectors.get(c, nothing) for vectors, _ in grouped[i]), nothing)
                    for i in np.flatnonzero(holds[:, c])]
            features.append(F.normalize(torch.from_numpy(np.reshape(rows, (-1, width))), dim=1).numpy())
        return features, np.array([looked[0][1] for looked in grouped])


@torch.no_grad()
def certainty(head: nn.Module, features: Tensor, draws: int = 10, ratio: float = 0.5) -> Tensor:
    """How little a classifier's answer varies when channels are dropped (Monte Carlo dropout).

    All images are judged with the same dropped channels, so that their order
    and the number of processes don't matter.

    Args:
        head: Decode head with a ``conv_seg``.
        features: ``[N, D, h, w]`` its input.
        draws: How often channels are dropped.
        ratio: Share of channels that are dropped; the authors' code has 0.5.

    Returns:
        ``[N]``: minus the variance of the probabilities, averaged over
        classes and cells.
    """
    features = features.float()  # mixed precision ends before
    generator = torch.Generator().manual_seed(0)
    kept = (torch.rand(draws, 1, features.shape[1], 1, 1, generator=generator) >= ratio) / (1 - ratio)
    answers = torch.stack([head.conv_seg(features * mask.to(features)).softmax(dim=1) for mask in kept])
    return -answers.var(dim=0, unbiased=False).mean(dim=(1, 2, 3))
