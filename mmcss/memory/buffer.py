"""What is stored while the images of a step come: all at once at its end, or batch by batch."""
from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
from numpy.random import RandomState

from ..arguments import ABSENT
from ..datasets.sources import image_name
from .dataset import WithMemory
from .evidence import UNSEEN, Evidence, class_features
from .exemplar import Exemplar, Memory
from .policies import Policy, Pool


@dataclass(frozen=True)
class Candidate:
    """An image that may be remembered.

    Args:
        exemplar: What would be remembered.
        numbers: Its numbers in the step's data set: as an image of the step,
            as a remembered one, or both.
        shown: As it is read until it is written, where that is not the same.
    """

    exemplar: Exemplar
    numbers: Tuple[int, ...]
    shown: Exemplar = ABSENT

    @property
    def key(self) -> Tuple[Any, ...]:
        """What names the image: its leaf and file; where it is of none of the step's data, the files it was chosen from."""
        one = self.exemplar
        return (one.leaf, one.name) if one.leaf is not None else (None, one.origin.image, one.origin.labels)


class MemoryBuffer:
    """The images that are stored, and those that may be.

    Several processes keep equal buffers with equal random numbers.

    Args:
        dataset: The step's images, and what is remembered at its start.
        size: Most images to remember.
        policy: Which ones.
        random: Random numbers.

    Attributes:
        candidates: Those that were remembered at the start, then the step's.
        stored: Numbers of the stored images in ``candidates``.
        numbers: Those of the step's images in its data set, each once.
        classes: The foreground classes seen so far.
        holds: ``[n, C]`` bool: which of them each candidate is known to show.
        images_seen: How many images have come, in all steps.
        classes_seen: ``[C]`` how many of them held each class.
    """

    def __init__(self, dataset: WithMemory, size: int, policy: Policy, random: RandomState) -> None:
        self.dataset, self.size, self.policy, self.random = dataset, size, policy, random
        before = dataset.memory
        old = [Candidate(one, (len(dataset) + number, )) for number, one in enumerate(before.exemplars)]
        new = _brought(dataset)
        self.candidates = old + new
        self.stored = list(range(len(old)))
        self.numbers = [one.numbers[0] for one in new]
        self.classes = dataset.split.foreground(dataset.split.seen)
        shown = [[name in one.exemplar.holds for name in self.classes] for one in self.candidates]
        self.holds = np.array(shown, dtype=bool).reshape(len(shown), len(self.classes))
        self.images_seen = before.images_seen
        # A stored image may show a class that an older run did not count.
        self.classes_seen = np.maximum([before.classes_seen.get(name, 0) for name in self.classes],
                                       self.holds[:len(old)].sum(axis=0))
        self._place = {number: len(old) + i for i, number in enumerate(self.numbers)}
        stored = {one.key: i for i, one in enumerate(old)}
        self._twins = {len(old) + i: stored[one.key] for i, one in enumerate(new) if one.key in stored}
        self._come: Set[int] = set()
        self._evidence: Dict[int, Evidence] = {}

    @property
    def numbers_stored(self) -> List[int]:
        """Numbers in the data set of the images that were remembered at the start."""
        return [one.numbers[0] for one in self.candidates[:self.dataset.num_memory]]

    def look(self, evidence: Sequence[Evidence]) -> None:
        """Take what the model says of the images that were remembered at the start, for policies that use features."""
        self._evidence.update(enumerate(evidence))

    def offer(self, numbers: Sequence[int], evidence: Sequence[Optional[Evidence]] = ()) -> None:
        """Images have been trained on and may be stored.

        Each counts once, however often it comes: where a data set holds it
        twice, fills up a short step, or brings an image that is stored. Such
        a one stays stored, with the labels of both.

        Args:
            numbers: Their numbers in the data set.
            evidence: What the model says of them, if the policy uses features.
        """
        before = self.images_seen, self.classes_seen.copy()
        come: List[int] = []
        for number, found in zip_longest(numbers, evidence):
            image = self._place.get(number % self.dataset.num_images)
            if image is None or image in self._come:
                continue
            self._come.add(image)
            twin = self._twins.get(image)
            if twin is not None and twin in self.stored:
                self._join(twin, image, found)
                continue
            come.append(image)
            if found is not None:
                self._evidence[image] = found
        self.images_seen += len(come)
        self.classes_seen += self.holds[come].sum(axis=0, dtype=int)
        if come or len(self.stored) > self.size:
            self._choose(come, *before)

    def _join(self, stored: int, image: int, found: Optional[Evidence]) -> None:
        """An image comes that is stored with the labels of an earlier step."""
        self.classes_seen += self.holds[image] & ~self.holds[stored]
        self.holds[stored] |= self.holds[image]
        old, new = self.candidates[stored], self.candidates[image]
        both = replace(old.exemplar, labelled=_union(old.exemplar.labelled, new.exemplar.labelled),
                       holds=_union(old.exemplar.holds, new.exemplar.holds))
        shown = ABSENT
        if both.image:  # the labels are joined when the copy is written anew
            whole = self.dataset.storage.has_labels_of(both)
            shown = replace(both, image=None, labels=None, saliency=None) if whole else old.exemplar
        self.candidates[stored] = Candidate(both, old.numbers + new.numbers, shown)
        if found is not None:
            self._evidence[stored] = self._evidence[stored].joined(found) if stored in self._evidence else found

    def _choose(self, come: Sequence[int], images_seen: int, classes_seen: np.ndarray) -> None:
        images = [*self.stored, *come]
        pool = Pool(self.holds[images], len(self.stored), images_seen, classes_seen)
        if self.policy.uses_features:
            evidence = [self._evidence.get(i, UNSEEN) for i in images]
            pool.class_features = class_features([one.features for one in evidence], pool.holds)
            pool.certainty = np.array([one.certainty for one in evidence])
        self.stored = [images[i] for i in self.policy.select(pool, self.size, self.random)]
        self._evidence = {i: self._evidence[i] for i in self.stored if i in self._evidence}  # the others can't come back

    def chosen(self) -> List[Candidate]:
        """The stored images."""
        return [self.candidates[i] for i in self.stored]

    def load(self, image: int) -> Any:
        """A stored image, by its number in ``candidates``, augmented."""
        return self.dataset.load_exemplar(shown(self.candidates[image]))

    def memory(self, exemplars: List[Exemplar], confidence: Dict[str, Optional[float]]) -> Memory:
        """What is remembered, as it was written; ``confidence`` of each class (:class:`Memory`)."""
        return Memory(exemplars, self.images_seen, dict(zip(self.classes, self.classes_seen.tolist())), confidence)


def shown(one: Candidate) -> Exemplar:
    """A candidate as it is read now."""
    return one.exemplar if one.shown is None else one.shown


def _union(names: Tuple[str, ...], more: Tuple[str, ...]) -> Tuple[str, ...]:
    return names + tuple(name for name in more if name not in names)


def _brought(dataset: WithMemory) -> List[Candidate]:
    """The images that a step brings, each once, with the labels that it gives them."""
    found: Dict[Tuple[Any, ...], Candidate] = {}
    images, split = dataset.images, dataset.split
    classes = split.foreground(dataset.view.kept(split))
    raw = [images.names.raw_ids[name] for name in classes]
    # A leaf that is repeated goes by its first number.
    first = {id(leaf): number for number, leaf in reversed(list(enumerate(images.leaves)))}
    for number, (leaf_number, image) in enumerate(dataset.index[:dataset.num_images].tolist()):
        leaf = images.leaves[leaf_number]
        key = (first[id(leaf)], image_name(leaf, leaf.get_data_info(image)))
        if key not in found:
            holds = np.asarray(classes)[images.presence[leaf_number][image, raw]]
            found[key] = Candidate(Exemplar(*key, labelled=classes, holds=tuple(holds.tolist())), (number, ))
    return list(found.values())
