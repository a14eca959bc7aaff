"""The equations as loops over pixels and regions: slow, and plain to read."""
from __future__ import annotations

import math
from typing import List, Sequence, Tuple

import numpy as np
from torch import Tensor


def as_array(tensor: Tensor) -> np.ndarray:
    """float64 values of a tensor."""
    return tensor.detach().double().numpy()


def softmax(scores: np.ndarray) -> List[float]:
    """Probabilities of one pixel's scores."""
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [value / math.fsum(exponentials) for value in exponentials]


def pixels(x: np.ndarray):
    """Image, row and column of each pixel of ``[N, C, H, W]`` or ``[N, H, W]``."""
    return ((n, i, j) for n in range(x.shape[0]) for i in range(x.shape[-2]) for j in range(x.shape[-1]))


def cross_entropy(logits: Tensor, target: Tensor, ignore: int = 255) -> np.ndarray:
    """``[N, H, W]`` ordinary cross-entropy, 0 where ignored."""
    return unbiased_cross_entropy(logits, target, 1, ignore)


def unbiased_cross_entropy(logits: Tensor, target: Tensor, num_old: int, ignore: int = 255) -> np.ndarray:
    """``[N, H, W]``: minus log of p(background or old) for background, of p(the class) for a class."""
    scores, loss = as_array(logits), np.zeros(tuple(target.shape))
    for n, i, j in pixels(loss):
        label = int(target[n, i, j])
        if label != ignore:
            p = softmax(scores[n, :, i, j])
            loss[n, i, j] = -math.log(math.fsum(p[:num_old]) if label == 0 else p[label])
    return loss


def unbiased_distillation(student: Tensor, teacher: Tensor, alpha: float = 1.0) -> np.ndarray:
    """``[N, H, W]``: the teacher's background against the student's background or new classes."""
    new, old = as_array(student), as_array(teacher)
    num_old = old.shape[1]
    loss = np.zeros((len(new), *new.shape[2:]))
    for n, i, j in pixels(loss):
        p, q = softmax(new[n, :, i, j]), softmax(alpha * old[n, :, i, j])
        folded = [math.fsum([p[0], *p[num_old:]]), *p[1:num_old]]
        loss[n, i, j] = -math.fsum(a * math.log(b) for a, b in zip(q, folded)) / num_old
    return loss


def knowledge_distillation(student: Tensor, teacher: Tensor, alpha: float = 1.0) -> np.ndarray:
    """``[N, H, W]``: cross-entropy over the old classes alone, divided by their number."""
    new, old = as_array(student), as_array(teacher)
    num_old = old.shape[1]
    loss = np.zeros((len(new), *new.shape[2:]))
    for n, i, j in pixels(loss):
        p, q = softmax(new[n, :num_old, i, j]), softmax(alpha * old[n, :, i, j])
        loss[n, i, j] = -math.fsum(a * math.log(b) for a, b in zip(q, p)) / num_old
    return loss


def binary_cross_entropy(score: float, target: float) -> float:
    """Of one score and its target in 0 to 1."""
    p = 1 / (1 + math.exp(-score))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def entropy(logits: Tensor) -> np.ndarray:
    """``[N, H, W]`` Shannon entropy in nats."""
    scores = as_array(logits)
    values = np.zeros((len(scores), *scores.shape[2:]))
    for n, i, j in pixels(values):
        values[n, i, j] = -math.fsum(p * math.log(p) for p in softmax(scores[n, :, i, j]) if p > 0)
    return values


def regions(size: int, scale: int, remainder: str) -> List[Tuple[int, int]]:
    """First and last + 1 position of each of ``scale`` regions along a side."""
    if remainder == 'drop':
        return [(k * (size // scale), (k + 1) * (size // scale)) for k in range(scale)]
    return [(math.floor(k * size / scale), math.ceil((k + 1) * size / scale)) for k in range(scale)]


def strips(x: np.ndarray, scale: int, remainder: str) -> Tuple[np.ndarray, np.ndarray]:
    """Each region's rows averaged over its columns, and its columns over its rows."""
    rows, columns = (regions(size, scale, remainder) for size in x.shape[2:])
    height, width = rows[-1][1], columns[-1][1]
    by_width = np.full((*x.shape[:2], height, scale), np.nan)
    by_height = np.full((*x.shape[:2], scale, width), np.nan)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            region = x[:, :, top:bottom, left:right]
            by_width[:, :, top:bottom, j] = region.mean(axis=3)
            by_height[:, :, i, left:right] = region.mean(axis=2)
    assert not np.isnan(by_width).any() and not np.isnan(by_height).any()
    return by_width, by_height


def pod(student: Tensor, teacher: Tensor, scales: Sequence[int] = (1, 2, 4), remainder: str = 'share') -> float:
    """Mean over the batch of the distance between the embeddings of the squared maps."""

    def embedding(x: Tensor) -> np.ndarray:
        pieces = [piece for scale in scales for piece in strips(as_array(x)**2, scale, remainder)]
        return np.concatenate([piece.reshape(len(x), -1) for piece in pieces], axis=1)

    return float(np.linalg.norm(embedding(student) - embedding(teacher), axis=1).mean())


def rounding(terms: Sequence[float]) -> float:
    """How far a float32 sum of these terms may be off, in whatever order a processor adds them.

    That is (n - 1) eps sum |x|, with eps = 2^-23; n in place of n - 1 leaves room for the rounding of the terms.
    """
    sizes = [abs(float(term)) for term in terms]
    return len(sizes) * 2.**-23 * math.fsum(sizes)
