"""What policies and replays learn from the model about images: features, certainty, confidence."""
from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, Sequence

import numpy as np
import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from ..arguments import ABSENT
from ..losses.prototypes import class_sums
from ..models.heads import map_head, output_layer
from ..parts import Needs, Part, Prediction, StepBatch
from ..scenario import Split


@dataclass(frozen=True)
class Evidence:
    """How a model sees an image.

    Args:
        features: ``[D]`` sum of the embedding over the pixels of each
            foreground class that it shows, by the class's place among the
            foreground classes.
        certainty: How sure the model is of it (:func:`certainty`).
    """

    features: Mapping[int, np.ndarray]
    certainty: float

    def joined(self, other: Evidence) -> Evidence:
        """The same image, with the labels of ``other`` too."""
        features = dict(self.features)
        for c, vector in other.features.items():
            features[c] = features[c] + vector if c in features else vector
        return Evidence(features, self.certainty)


UNSEEN = Evidence({}, -np.inf)  # of an image that no model has predicted


def evidence_of(model: EncoderDecoder, prediction: Prediction, target: Tensor, split: Split) -> List[Evidence]:
    """How a model sees the images of a batch.

    Args:
        model: The segmentor.
        prediction: Its prediction, with the embedding.
        target: ``[N, H, W]`` labels.
        split: The step, whose foreground classes count.
    """
    features, first = prediction.embedding, split.first_foreground
    sums, counts = class_sums(features, target - first, split.num_seen - first, prediction.align_corners)
    vectors, shown = sums.cpu().numpy(), (counts > 0).cpu().numpy()
    # Only the classes that an image shows are stored, of up to 150.
    return [Evidence(dict(zip(np.flatnonzero(mask).tolist(), values[mask])), sure) for values, mask, sure in zip(
        vectors, shown, certainty(output_layer(map_head(model)), features).tolist())]


@torch.no_grad()
def certainty(classify: nn.Module, features: Tensor, draws: int = 10, ratio: float = 0.5) -> Tensor:
    """How little a classifier's prediction varies when channels are dropped (Monte Carlo dropout).

    The same channels are dropped for all images, so that neither their order
    nor the number of processes matters.

    Args:
        classify: Gives logits, ``[N, C, h, w]``.
        features: ``[N, D, h, w]``, its input.
        draws: How often channels are dropped.
        ratio: Share of channels that are dropped; the authors' code has 0.5.

    Returns:
        ``[N]``: minus the variance of the probabilities, averaged over
        classes and cells.
    """
    features = features.float()  # outside mixed precision
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(draws, 1, features.shape[1], 1, 1, generator=generator) >= ratio) / (1 - ratio)
    probabilities = torch.stack([classify(features * mask.to(features)).softmax(dim=1) for mask in masks])
    return -probabilities.var(dim=0, unbiased=False).mean(dim=(1, 2, 3))


def class_features(features: Sequence[Mapping[int, np.ndarray]], holds: np.ndarray) -> List[np.ndarray]:
    """For each class ``[members, D]`` unit vectors of the images that hold it, in order.

    Args:
        features: For each image a vector for each class that it shows.
        holds: ``[n, C]`` bool. A class that an image holds but does not show
            (a crop may lose it) has a zero vector.
    """
    nothing = np.zeros(next((len(vector) for vectors in features for vector in vectors.values()), 1), dtype=np.float32)
    stacked = []
    for c in range(holds.shape[1]):
        rows = np.reshape([features[i].get(c, nothing) for i in np.flatnonzero(holds[:, c]).tolist()], (-1, len(nothing)))
        stacked.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
    return stacked


def class_confidence(logits: Tensor, target: Tensor) -> Tensor:
    """Probability of the labelled class, summed over the pixels of each class.

    Args:
        logits: ``[N, C, H, W]``.
        target: ``[N, H, W]`` class indices; other values (255) count for no class.

    Returns:
        ``[2, C]`` float32: the sums, and the numbers of pixels.
    """
    logits = logits.float()
    num_classes = logits.shape[1]
    inside = target < num_classes
    labelled = logits.gather(1, torch.where(inside, target, 0)[:, None])[:, 0]
    probability = (labelled - logits.logsumexp(dim=1)).exp()
    # One more row collects the pixels of no class.
    groups = torch.where(inside, target, num_classes).flatten()
    sums = torch.zeros(2, num_classes + 1, device=logits.device)
    sums.index_add_(1, groups, torch.stack((probability, torch.ones_like(probability))).flatten(1))
    return sums[:, :-1].contiguous()  # all_reduce takes no view


class LastBatch(Part):
    """Stores what a policy and a replay need of the batch that was trained last.

    Args:
        confidence: Whether to compute :func:`class_confidence`.
        features: Whether to store the batch.

    Attributes:
        confidence: Of that batch, ``[2, C]``.
        batch: The batch, with a detached embedding.
    """

    uses_teacher = False
    takes_unknown = True

    def __init__(self, confidence: bool, features: bool) -> None:
        self.needs = Needs(logits=confidence, embedding=features)
        self.confidence: Tensor = ABSENT
        self.batch: StepBatch = ABSENT

    @torch.no_grad()
    def observe(self, batch: StepBatch) -> None:
        if self.needs.logits:
            self.confidence = class_confidence(batch.student.logits, batch.raw_target)
        if self.needs.embedding:
            batch.student.embedding = batch.student.embedding.detach()
            self.batch = batch
