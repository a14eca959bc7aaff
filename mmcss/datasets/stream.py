"""The memory of a step whose images come as a stream, each once."""
from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from numpy.random import RandomState
from torch.utils.data import Sampler

from .policies import POLICIES, Candidates, cbes_insert, class_features, reservoir_insert
from .remembering import Candidate, holds_of, merged, new_candidates, remembered_candidates
from .step_dataset import StepDataset

Look = Tuple[Mapping[int, np.ndarray], float]  # feature of each class that an image shows, and the certainty


class StreamMemory:
    """What is remembered while the images of a step come one after another.

    Args:
        dataset: The step's images, and what is remembered at its start.
        size: Most images to remember.
        policy: Name in :data:`POLICIES`. 'cbes' and 'reservoir' decide image
            by image; the others choose anew among the stored images and
            those of a batch.
        random: Random numbers; several processes keep equal memories with
            equal ones.
        looks: Of the images that are remembered at the start, for policies
            that use features.

    Attributes:
        kept: Numbers of the stored images in ``found``.
        found: All images of the stream and those remembered at its start.
        holds: ``[n, C]`` bool: which foreground classes each is known to show.
        seen: ``[C]`` how many images so far held each class.
        images_seen: How many images have come so far.
    """

    def __init__(self, dataset: StepDataset, size: int, policy: str, random: RandomState,
                 looks: Sequence[Look] = ()) -> None:
        before = dataset.remembered.memory
        self.classes = dataset.split.foreground(dataset.split.seen)
        old, new = remembered_candidates(dataset), new_candidates(dataset)
        self.found: List[Candidate] = old + new
        self.holds = holds_of(self.found, self.classes)
        self.kept = list(range(len(old)))[:size]
        self.seen = np.maximum([before.classes_seen.get(name, 0) for name in self.classes],
                               self.holds[:len(old)].sum(axis=0))
        self.images_seen = before.images_seen
        self._size, self._policy, self._random = size, policy, random
        self._looks: Dict[int, Look] = dict(enumerate(looks))
        self._numbers = {one.numbers[0]: len(old) + i for i, one in enumerate(new)}
        stored = {one.key: i for i, one in enumerate(old)}
        self._twins = {len(old) + i: stored[one.key] for i, one in enumerate(new) if one.key in stored}
        self._remembered = dataset.remembered
        self._joined: Dict[int, Candidate] = {}
        self._period = dataset.num_images
        self._arrived: Set[int] = set()

    def offer(self, numbers: Sequence[int], looks: Sequence[Optional[Look]] = ()) -> None:
        """Images have been trained on and may be stored.

        Args:
            numbers: Their numbers in the data set.
            looks: What the policy wants to know of them, if it uses features.
        """
        arrived: Dict[int, Optional[Look]] = {}
        for number, look in zip_longest(numbers, looks):
            image = self._numbers.get(number % self._period)
            # An image that a data set holds twice, or that fills up a short step, counts once.
            if image is not None and image not in self._arrived:
                self._arrived.add(image)
                arrived[image] = look
        for image in arrived:
            self._arrive(image)
            if self._policy == 'cbes':
                self.kept = cbes_insert(self.kept, image, self.holds, self.seen, self._size, self._random)
            elif self._policy == 'reservoir':
                self.kept = reservoir_insert(self.kept, image, self.images_seen, self._size, self._random)
        if self._policy not in ('cbes', 'reservoir'):
            for image, look in arrived.items():
                if look is not None:
                    self._looks[image] = self._with_older(image, look)
            self._choose_anew(list(arrived))

    def _arrive(self, image: int) -> None:
        """Count an image; one that is stored with the labels of an earlier step is now known with both."""
        self.images_seen += 1
        self.seen += self.holds[image]
        twin = self._twins.get(image)
        if twin is not None and twin in self.kept:
            self.kept.remove(twin)
            both = merged(self.found[twin], self.found[image])
            if not both.exemplar.image or self._remembered.is_labelled(both.exemplar):
                # From now on it is read from the data set, which has both.
                self.found[image] = replace(both, exemplar=replace(both.exemplar, image=None, labels=None, saliency=None))
            else:  # a copy that alone has the older labels: both are joined when it is written
                self.found[image], self._joined[image] = self.found[twin], both
            self.holds[image] |= self.holds[twin]

    def _with_older(self, image: int, look: Look) -> Look:
        """A look at an image as it came, with what is known of the classes that it was stored with before."""
        older = self._looks.get(self._twins.get(image, -1), ({}, 0.0))
        return {**older[0], **look[0]}, look[1]

    def _choose_anew(self, images: Sequence[int]) -> None:
        pool = list(dict.fromkeys([*self.kept, *images]))
        candidates = Candidates(holds=self.holds[pool], remembered=np.isin(pool, self.kept))
        if self._looks:
            looks = [self._looks.get(i, ({}, -np.inf)) for i in pool]
            candidates.class_features = class_features([features for features, _ in looks], candidates.holds)
            candidates.certainty = np.array([sure for _, sure in looks])
        self.kept = [pool[i] for i in POLICIES[self._policy](candidates, self._size, self._random)]
        self._looks = {i: self._looks[i] for i in self.kept if i in self._looks}  # the others can't come back

    def chosen(self) -> List[Candidate]:
        """The stored images."""
        return [self._joined.get(i, self.found[i]) for i in self.kept]


@DATA_SAMPLERS.register_module()
class StreamBatchSampler(Sampler[List[int]]):
    """Deals a step's images out once, in random order, to all processes.

    Batches differ by at most one image, so that no process waits for another
    and no image comes twice. (Only where a step has fewer images than there
    are processes does the data set repeat some.) None is empty: with a
    ``batch_size`` of 1 some have two images where they would not go round.

    Args:
        sampler: A stock sampler of the step's images; its data set and seed
            are used.
        batch_size: Most images a batch of one process.
        drop_last: Must be False: each image comes once.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, drop_last: bool = False) -> None:
        if drop_last:
            raise ValueError('train_dataloader.drop_last: online steps show each image once; take it out.')
        self.sampler = sampler
        self.number = len(sampler.dataset)
        self.rank, self.world_size = get_dist_info()
        self.batches = min(-(-self.number // (batch_size * self.world_size)), self.number // self.world_size)

    def __iter__(self) -> Iterator[List[int]]:
        generator = torch.Generator().manual_seed(self.sampler.seed or 0)
        order = torch.randperm(self.number, generator=generator).numpy()
        dealt = np.array_split(order, self.batches * self.world_size)
        return iter([batch.tolist() for batch in dealt[self.rank::self.world_size]])

    def __len__(self) -> int:
        return self.batches
