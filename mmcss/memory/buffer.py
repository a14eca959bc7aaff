"""Which images are stored, as those of a step arrive: all at once at its end, or batch by batch."""
from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
from numpy.random import RandomState

from ..datasets.sources import image_name
from .dataset import WithMemory
from .evidence import UNSEEN, Evidence, class_features
from .exemplar import Exemplar, Memory
from .policies import Policy, Pool


@dataclass(frozen=True)
class Candidate:
    """An image that may be remembered.

    Args:
        exemplar: What would be written of it.
        numbers: Its numbers in the step's data set: as an image of the step,
            as a remembered one, or both.
        readable: As it is read until it is written; differs from ``exemplar``
            for a copy that has got labels of the step.
    """

    exemplar: Exemplar
    numbers: Tuple[int, ...]
    readable: Exemplar


class MemoryBuffer:
    """The stored images and the candidates for storage.

    Several processes keep equal buffers with equal random numbers.

    Args:
        dataset: The step's images, and those remembered at its start.
        size: Most images to remember.
        policy: Chooses them.
        random: Random numbers.

    Attributes:
        candidates: The images remembered at the start, then the step's.
        stored: Numbers of the stored images in ``candidates``.
        numbers: Those of the step's images in its data set, each once.
        classes: The foreground classes seen so far.
        holds: ``[n, C]`` bool: which of them each candidate is known to show.
        images_seen: How many images have arrived, in all steps.
        classes_seen: ``[C]`` how many of them held each class.
    """

    def __init__(self, dataset: WithMemory, size: int, policy: Policy, random: RandomState) -> None:
        self.dataset, self.size, self.policy, self.random = dataset, size, policy, random
        before = dataset.memory
        old = [Candidate(exemplar, (len(dataset) + i, ), exemplar) for i, exemplar in enumerate(before.exemplars)]
        new = _step_candidates(dataset)
        self.candidates = [*old, *new.values()]
        self.stored = list(range(len(old)))
        self.numbers = [candidate.numbers[0] for candidate in new.values()]
        self.classes = dataset.split.foreground(dataset.split.seen)
        shown = [[name in candidate.exemplar.holds for name in self.classes] for candidate in self.candidates]
        self.holds = np.array(shown, dtype=bool).reshape(len(shown), len(self.classes))
        self.images_seen = before.images_seen
        # A stored image may show a class that an older run did not count.
        self.classes_seen = np.maximum([before.classes_seen.get(name, 0) for name in self.classes],
                                       self.holds[:len(old)].sum(axis=0))
        self._place = {number: len(old) + i for i, number in enumerate(self.numbers)}
        stored = {(exemplar.leaf, exemplar.name): i for i, exemplar in enumerate(before.exemplars)}
        self._twins = {len(old) + i: stored[key] for i, key in enumerate(new) if key in stored}
        self._arrived: Set[int] = set()
        self._evidence: Dict[int, Evidence] = {}

    @property
    def stored_numbers(self) -> List[int]:
        """Numbers in the data set of the images that were remembered at the start."""
        return [candidate.numbers[0] for candidate in self.candidates[:self.dataset.num_memory]]

    def add_evidence(self, evidence: Sequence[Evidence]) -> None:
        """Take the model's evidence on the images that were remembered at the start, for policies that use features."""
        self._evidence.update(enumerate(evidence))

    def offer(self, numbers: Sequence[int], evidence: Sequence[Optional[Evidence]] = ()) -> None:
        """Offer images that have been trained on.

        Each counts once, however often it arrives: a data set may hold it
        twice, or repeat it to fill up a short step. An image that is stored
        already stays stored, with the labels of both.

        Args:
            numbers: Their numbers in the data set.
            evidence: The model's evidence on them, if the policy uses features.
        """
        arrived: List[int] = []
        for number, image_evidence in zip_longest(numbers, evidence):
            image = self._place.get(number % self.dataset.num_images)
            if image is None or image in self._arrived:
                continue
            self._arrived.add(image)
            twin = self._twins.get(image)
            if twin is not None and twin in self.stored:
                self._join(twin, image, image_evidence)
                continue
            arrived.append(image)
            if image_evidence is not None:
                self._evidence[image] = image_evidence
        before = self.images_seen, self.classes_seen.copy()  # with the new classes of joined images
        self.images_seen += len(arrived)
        self.classes_seen += self.holds[arrived].sum(axis=0, dtype=int)
        if arrived or len(self.stored) > self.size:
            self._choose(arrived, *before)

    def _join(self, stored: int, image: int, evidence: Optional[Evidence]) -> None:
        """Join an image that arrives with its stored twin, which has the labels of an earlier step."""
        self.classes_seen += self.holds[image] & ~self.holds[stored]
        self.holds[stored] |= self.holds[image]
        old, new = self.candidates[stored], self.candidates[image]
        joined = readable = replace(
            old.exemplar, labelled=tuple(dict.fromkeys(old.exemplar.labelled + new.exemplar.labelled)),
            holds=tuple(dict.fromkeys(old.exemplar.holds + new.exemplar.holds)))
        if joined.image:  # a copy gets the new labels when it is written
            whole = self.dataset.storage.has_labels_of(joined)
            readable = replace(joined, image=None, labels=None, saliency=None) if whole else old.exemplar
        self.candidates[stored] = Candidate(joined, old.numbers + new.numbers, readable)
        if evidence is not None:
            self._evidence[stored] = self._evidence[stored].joined(evidence) if stored in self._evidence else evidence

    def _choose(self, arrived: Sequence[int], images_seen: int, classes_seen: np.ndarray) -> None:
        images = [*self.stored, *arrived]
        pool = Pool(self.holds[images], len(self.stored), images_seen, classes_seen)
        if self.policy.uses_features:
            evidence = [self._evidence.get(i, UNSEEN) for i in images]
            pool.class_features = class_features([image_evidence.features for image_evidence in evidence], pool.holds)
            pool.certainty = np.array([image_evidence.certainty for image_evidence in evidence])
        self.stored = [images[i] for i in self.policy.select(pool, self.size, self.random)]
        self._evidence = {i: self._evidence[i] for i in self.stored if i in self._evidence}  # the rest can't come back

    def chosen(self) -> List[Candidate]:
        """The stored images."""
        return [self.candidates[i] for i in self.stored]

    def load(self, image: int) -> Any:
        """A stored image, by its number in ``candidates``, augmented."""
        return self.dataset.load_exemplar(self.candidates[image].readable)

    def memory(self, exemplars: List[Exemplar], confidence: Dict[str, Optional[float]]) -> Memory:
        """The memory of these written exemplars; ``confidence`` of each class (:class:`Memory`)."""
        return Memory(exemplars, self.images_seen, dict(zip(self.classes, self.classes_seen.tolist())), confidence)


def _step_candidates(dataset: WithMemory) -> Dict[Tuple[int, str], Candidate]:
    """The images of a step by leaf and name, each once, with the labels that the step gives them."""
    candidates: Dict[Tuple[int, str], Candidate] = {}
    images, split = dataset.images, dataset.split
    classes = split.foreground(dataset.view.labelled_classes(split))
    raw = [images.names.raw_ids[name] for name in classes]
    for number, (leaf, image) in enumerate(dataset.index[:dataset.num_images].tolist()):
        key = images.first_leaf[leaf], image_name(images.leaves[leaf], images.leaves[leaf].get_data_info(image))
        if key not in candidates:
            holds = np.asarray(classes)[images.presence[leaf][image, raw]]
            exemplar = Exemplar(*key, labelled=classes, holds=tuple(holds.tolist()))
            candidates[key] = Candidate(exemplar, (number, ), exemplar)
    return candidates
