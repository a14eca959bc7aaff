"""Chooses what later steps replay."""
from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.random import RandomState
from torch import Tensor, nn

from ..datasets import StepDataset
from ..datasets.exemplars import ExemplarMemory
from ..datasets.policies import POLICIES, USES_FEATURES, Candidates, class_features
from ..datasets.remembering import Candidate, candidates_of, holds_of, noted, write_copies
from ..datasets.stream import Look
from ..losses.prototypes import class_sums
from ..models import ContinualMixin
from ..models.heads import map_head, output_layer
from ..parts import Needs, Prediction
from ..scenario import Split
from .class_means import set_class_means
from .data_pass import Pass, averaged_model, common_seed, step_dataset


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

    def __init__(self, path: str, size: int, policy: str, export: bool) -> None:
        self.path = Path(path)
        self.size = size
        self.policy = policy
        self.export = export

    def after_train(self, runner: Runner) -> None:
        self.finish_step(runner)

    def finish_step(self, runner: Runner) -> None:
        """Choose and write; also called for a step that was trained elsewhere."""
        dataset = step_dataset(runner)
        found = candidates_of(dataset)
        classes = dataset.split.foreground(dataset.split.seen)
        before = dataset.remembered.memory
        seen_before = np.array([before.classes_seen.get(name, 0) for name in classes])
        candidates = Candidates(
            holds=holds_of(found, classes),
            remembered=np.array([one.remembered for one in found], dtype=bool),
            images_seen=before.images_seen,
            classes_seen=seen_before)
        if self.policy in USES_FEATURES:
            candidates.class_features, candidates.certainty = self._features(runner, found, candidates.holds)
        random = RandomState([common_seed(runner), dataset.split.step])
        chosen = POLICIES[self.policy](candidates, self.size, random)
        if is_main_process():
            fresh = ~candidates.remembered
            known = np.maximum(seen_before, candidates.holds[~fresh].sum(axis=0))
            seen = dict(zip(classes, (known + candidates.holds[fresh].sum(axis=0)).tolist()))
            self.write(dataset, [found[i] for i in chosen], before.images_seen + int(fresh.sum()), seen, before.confidence)
        barrier()
        set_class_means(runner, [found[i].exemplar for i in chosen])

    def write(self, dataset: StepDataset, chosen: List[Candidate], images_seen: int, classes_seen: Dict[str, int],
              confidence: Dict[str, float]) -> None:
        """Write what is remembered; see :class:`ExemplarMemory`."""
        # What is a copy stays one: its file of the step before may go.
        copied = [one for one in chosen if self.export or one.exemplar.image]
        exemplars = write_copies(dataset, copied, self.path.parent) if copied else []
        exemplars += noted(dataset, [one for one in chosen if not (self.export or one.exemplar.image)])
        ExemplarMemory(exemplars, images_seen, classes_seen, confidence).save(self.path)

    def _features(self, runner: Runner, found: List[Candidate],
                  holds: np.ndarray) -> Tuple[List[np.ndarray], np.ndarray]:
        """``class_features`` and ``certainty`` of the candidates (:class:`Candidates`)."""
        looks = self.look(runner, [one.numbers for one in found])
        return class_features([features for features, _ in looks], holds), np.array([sure for _, sure in looks])

    def look(self, runner: Runner, images: Sequence[Sequence[int]]) -> List[Look]:
        """How the trained model sees images.

        Args:
            runner: The step's runner.
            images: For each image its numbers in the data set: labels of all
                are looked at.
        """
        numbers = [number for own in images for number in own]
        model, own = averaged_model(runner), []
        split = step_dataset(runner).split
        for batch in Pass(runner, Needs(embedding=True), student=True, images=numbers):
            own.extend(looks_of(model, batch.student, batch.raw_target, split))
        # Processes took turns in the order of the numbers.
        shares = all_gather_object(own)
        looks = iter(shares[i % len(shares)][i // len(shares)] for i in range(len(numbers)))
        grouped = [[next(looks) for _ in own] for own in images]
        joined: List[Look] = []
        for group in grouped:
            features: Dict[int, np.ndarray] = {}
            for seen, _ in group:
                features.update({c: features.get(c, 0) + vector for c, vector in seen.items()})
            joined.append((features, group[0][1]))
        return joined


def looks_of(model: ContinualMixin, prediction: Prediction, target: Tensor, split: Split) -> List[Look]:
    """How a model sees the images of a batch.

    Args:
        model: The segmentor.
        prediction: Its prediction, with the embedding.
        target: ``[N, H, W]`` labels.
        split: The step, whose foreground classes are looked at.

    Returns:
        For each image the sum of the embedding over the pixels of each
        foreground class that it shows, by the class's place among these, and
        how sure the model is of it.
    """
    features, first = prediction.embedding, split.first_foreground
    sums, counts = class_sums(features, target - first, split.num_seen - first, prediction.align_corners)
    vectors, shown = sums.cpu().numpy(), (counts > 0).cpu().numpy()
    # Only the classes that an image shows are kept, of up to 150.
    return [(dict(zip(np.flatnonzero(mask).tolist(), values[mask])), sure) for values, mask, sure in zip(
        vectors, shown, certainty(output_layer(map_head(model)), features).tolist())]


@torch.no_grad()
def certainty(classify: nn.Module, features: Tensor, draws: int = 10, ratio: float = 0.5) -> Tensor:
    """How little a classifier's answer varies when channels are dropped (Monte Carlo dropout).

    All images are judged with the same dropped channels, so that their order
    and the number of processes don't matter.

    Args:
        classify: Gives logits, ``[N, C, h, w]``.
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
    answers = torch.stack([classify(features * mask.to(features)).softmax(dim=1) for mask in kept])
    return -answers.var(dim=0, unbiased=False).mean(dim=(1, 2, 3))
