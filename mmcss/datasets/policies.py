"""Which images are remembered.

A policy takes :class:`Candidates` and returns the numbers of those to keep,
at most ``size``, each once. All are deterministic for a random state; numpy's
legacy one, whose numbers stay the same from version to version.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set

import numpy as np
from numpy.random import RandomState

from ..arguments import ABSENT


@dataclass
class Candidates:
    """The images that may be remembered after a step: old exemplars, then the step's.

    Args:
        holds: ``[n, C]`` bool: which foreground classes seen so far each one
            is known to show.
        remembered: ``[n]`` bool: whether it is an exemplar already.
        images_seen: Images of all steps before.
        classes_seen: ``[C]`` how many of them held each class.
        class_features: For each class ``[members, D]`` unit vectors: its mean
            feature in each image that holds it, in order (policies in
            :data:`USES_FEATURES`).
        certainty: ``[n]``: the greater, the surer the model is of the image
            (the same policies).
    """

    holds: np.ndarray
    remembered: np.ndarray
    images_seen: int = 0
    classes_seen: Optional[np.ndarray] = None
    class_features: Sequence[np.ndarray] = ABSENT
    certainty: np.ndarray = ABSENT


def class_features(features: Sequence[Mapping[int, np.ndarray]], holds: np.ndarray) -> List[np.ndarray]:
    """For each class ``[members, D]`` unit vectors of the images that hold it, in order.

    Args:
        features: For each image a vector for each class that it shows.
        holds: ``[n, C]`` bool. A class that an image holds and does not show
            (a crop may lose it) has a zero vector.
    """
    nothing = np.zeros(next((len(vector) for own in features for vector in own.values()), 1), dtype=np.float32)
    stacked = []
    for c in range(holds.shape[1]):
        rows = np.reshape([features[i].get(c, nothing) for i in np.flatnonzero(holds[:, c]).tolist()], (-1, len(nothing)))
        stacked.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
    return stacked


def uniform(candidates: Candidates, size: int, random: RandomState) -> List[int]:
    """Any images, each as likely as another."""
    return random.permutation(len(candidates.holds))[:size].tolist()


def class_balanced(candidates: Candidates, size: int, random: RandomState) -> List[int]:
    """As many images for each class, drawn in turns (SSUL, Cha et al., NeurIPS 2021).

    Candidates and classes are shuffled; in each turn a class takes its first
    candidate that no class has taken. A class that has none left is skipped.
    Authors' code: https://github.com/clovaai/SSUL
    """
    order, classes = np.arange(len(candidates.holds)), np.arange(candidates.holds.shape[1])
    random.shuffle(order)
    random.shuffle(classes)
    queues = [iter(order[candidates.holds[order, c]].tolist()) for c in classes]
    return _in_turns(queues, size)


def first(candidates: Candidates, size: int, random: RandomState) -> List[int]:
    """As many images for each class, its first ones in the order of the data set (SATS's released code).

    Classes take turns, and pass over an image that another class has taken.
    Authors' code: https://github.com/QIU023/SATS_Continual_Semantic_Seg
    """
    return _in_turns([iter(np.flatnonzero(holds).tolist()) for holds in candidates.holds.T], size)


def reservoir(candidates: Candidates, size: int, random: RandomState) -> List[int]:
    """Each image of the whole stream as likely as another (Vitter, 1985)."""
    kept = np.flatnonzero(candidates.remembered).tolist()[:size]
    new = random.permutation(np.flatnonzero(~candidates.remembered)).tolist()
    for images_seen, image in enumerate(new, candidates.images_seen + 1):
        kept = reservoir_insert(kept, image, images_seen, size, random)
    return kept


def reservoir_insert(kept: List[int], image: int, images_seen: int, size: int, random: RandomState) -> List[int]:
    """One image of the stream, number ``images_seen`` of it, is offered to the memory."""
    if len(kept) < size:
        return [*kept, image]
    slot = random.randint(images_seen)
    return [*kept[:slot], image, *kept[slot + 1:]] if slot < size else kept


def cbes(candidates: Candidates, size: int, random: RandomState) -> List[int]:
    """Class-balanced exemplar selection of a stream (Yan et al., ACM MM 2021, algorithm 2)."""
    holds = candidates.holds
    kept = np.flatnonzero(candidates.remembered).tolist()[:size]
    seen = np.zeros(holds.shape[1], dtype=int) if candidates.classes_seen is None else candidates.classes_seen
    # An exemplar that comes again may show a class that no image has brought so far.
    seen = np.maximum(seen, holds[candidates.remembered].sum(axis=0))
    for image in random.permutation(np.flatnonzero(~candidates.remembered)).tolist():
        seen += holds[image]
        kept = cbes_insert(kept, image, holds, seen, size, random)
    return kept


def cbes_insert(kept: List[int], image: int, holds: np.ndarray, seen: np.ndarray, size: int,
                random: RandomState) -> List[int]:
    """One image of the stream is offered to the memory.

    What the paper leaves open: an image without a class is not stored; ties
    are broken at random; classes are tried in random order; a class without
    stored images makes no room.

    Args:
        kept: Numbers of the stored images.
        image: Number of the new one.
        holds: ``[n, C]`` bool, of all foreground classes up to this step.
        seen: ``[C]`` images of each class in the stream so far, this one
            included.
        size: Most images to store.
        random: Random numbers.

    Returns:
        The stored images from now on.
    """
    own = np.flatnonzero(holds[image])
    if not len(own) or size < 1:
        return kept
    counts = holds[kept].sum(axis=0) if kept else np.zeros(holds.shape[1], dtype=int)
    if len(kept) < size:
        return [*kept, image]
    if not counts.any():
        return kept
    if counts[own].min() < size / len(counts):
        largest = np.flatnonzero(counts == counts.max())
        return _swapped(kept, image, holds, random.choice(largest), random)
    for c in random.permutation(own):
        if counts[c] and random.uniform() <= counts[c] / seen[c]:
            return _swapped(kept, image, holds, c, random)
    return kept


def _swapped(kept: List[int], image: int, holds: np.ndarray, c: int, random: RandomState) -> List[int]:
    """``kept`` with a random image of class ``c`` exchanged for ``image``."""
    out = random.choice([one for one in kept if holds[one, c]])
    return [image if one == out else one for one in kept]


def herding(candidates: Candidates, size: int, random: RandomState) -> List[int]:
    """Images whose mean feature stays closest to the class's (iCaRL, Rebuffi et al., CVPR 2017, algorithm 4).

    An image's feature for a class is the mean over the class's pixels.
    Classes take turns; what another class has taken counts for both.
    """

    def ranked(c: int) -> Iterator[int]:
        members = np.flatnonzero(candidates.holds[:, c])
        features = candidates.class_features[c]
        mean, total = features.mean(axis=0), np.zeros(features.shape[1])
        distance = np.zeros(len(members))
        for count in range(len(members)):
            distance = np.where(np.isinf(distance), np.inf,
                                np.linalg.norm(mean - (features + total) / (count + 1), axis=1))
            pick = int(distance.argmin())
            distance[pick], total = np.inf, total + features[pick]
            yield int(members[pick])

    return _in_turns([ranked(c) for c in _present(candidates)], size)


def confident(candidates: Candidates, size: int, random: RandomState, pool: int = 10) -> List[int]:
    """Sure images that stand for the others of their class (CoRiSeg, Ozdemir et al., MICCAI 2018).

    Of each class the surest images are kept, ``pool`` times as many as
    wanted; from these, one after another, that which brings the class's
    images closest to a chosen one (cosine distance of the mean features).
    """
    classes = _present(candidates)
    wanted = -(-size // max(1, len(classes)))

    def ranked(c: int) -> Iterator[int]:
        members = np.flatnonzero(candidates.holds[:, c])
        features = candidates.class_features[c]
        sure = np.argsort(-candidates.certainty[members], kind='stable')[:pool * wanted]
        distance = 1 - features @ features[sure].T  # of all images to the surest
        nearest, taken = np.full(len(members), np.inf), np.zeros(len(sure), dtype=bool)
        for _ in range(len(sure)):
            cost = np.where(taken, np.inf, np.minimum(nearest[:, None], distance).sum(axis=0))
            pick = int(cost.argmin())
            nearest, taken[pick] = np.minimum(nearest, distance[:, pick]), True
            yield int(members[sure[pick]])

    return _in_turns([ranked(c) for c in classes], size)


def _present(candidates: Candidates) -> List[int]:
    """The classes that any candidate shows."""
    return np.flatnonzero(candidates.holds.any(axis=0)).tolist()


def _in_turns(queues: List[Iterator[int]], size: int) -> List[int]:
    """Numbers from several queues in turns, each number once, ordered by queue."""
    taken: List[List[int]] = [[] for _ in queues]
    chosen: Set[int] = set()
    open_queues = list(range(len(queues)))
    while open_queues and len(chosen) < size:
        for number in list(open_queues):
            if len(chosen) == size:
                break
            image = next((image for image in queues[number] if image not in chosen), None)
            if image is None:
                open_queues.remove(number)
            else:
                chosen.add(image)
                taken[number].append(image)
    return [image for images in taken for image in images]


Policy = Callable[[Candidates, int, RandomState], List[int]]
POLICIES: Dict[str, Policy] = {
    'random': uniform,
    'class_balanced': class_balanced,
    'first': first,
    'cbes': cbes,
    'reservoir': reservoir,
    'herding': herding,
    'confident': confident,
}
USES_FEATURES = ('herding', 'confident')
