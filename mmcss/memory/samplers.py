"""Batches of new and remembered images."""
from __future__ import annotations

from itertools import chain, count, islice
from typing import Iterator, List, Literal

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

Iterations = Literal['kept', 'all_new']


def remembered_share(batch_size: int, share: float) -> int:
    """How many of ``batch_size`` images are remembered ones, for a share between 0 and 1.

    Raises:
        ValueError: None or all would be.
    """
    remembered = int(batch_size * share + 0.5)
    if not 0 < remembered < batch_size:
        raise ValueError(f'continual.memory.share: {share} of a batch of {batch_size} leaves no room for new or remembered '
                         'images; take a larger batch_size.')
    return remembered


@DATA_SAMPLERS.register_module()
class ReplayBatchSampler(Sampler[List[int]]):
    """Fills a part of each batch with remembered images.

    The step's images are sampled as without a memory. Remembered images, the
    ``num_memory`` last ones of the data set, come in random order, each once
    before any comes again, over all processes together. Only images that are
    used are read. (A loop that counts iterations reads the images of its past
    ones again when it is resumed.)

    Args:
        sampler: A stock sampler of the step's images.
        batch_size: Images in a batch of one process, remembered ones included.
        share: Remembered images' share of a batch.
        iterations: 'kept': as many batches an epoch as without memory, so
            that an epoch shows only a part of the new images (SSUL-M);
            'all_new': as many as all new images take (SATS-M).
        drop_last: Leave out a last batch that is not full.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, share: float, iterations: Iterations,
                 drop_last: bool = False) -> None:
        remembered = remembered_share(batch_size, share)
        self.sampler = sampler
        self.drop_last = drop_last
        self.num_memory: int = sampler.dataset.num_memory
        self.num_remembered = remembered if self.num_memory else 0
        self.num_new = batch_size - self.num_remembered
        self.consumed = batch_size if iterations == 'kept' else self.num_new  # new images that a batch stands for
        self._round = 0

    def __iter__(self) -> Iterator[List[int]]:
        # The epoch that a loop has set, or else how often iteration began.
        epoch, self._round = getattr(self.sampler, 'epoch', self._round), self._round + 1
        new, memory = iter(self.sampler), self._remembered(epoch)
        for _ in count() if isinstance(self.sampler, InfiniteSampler) else range(len(self)):
            batch = list(islice(new, self.num_new))
            if not batch:
                return
            yield batch + list(islice(memory, self.num_remembered))

    def _remembered(self, epoch: int) -> Iterator[int]:
        """This process's share of endless rounds over the remembered images."""
        generator = torch.Generator().manual_seed(self.sampler.seed or 0)
        first = self.sampler.dataset.first_remembered
        rounds = iter(lambda: torch.randperm(self.num_memory, generator=generator).tolist(), None)
        rank, world_size = get_dist_info()
        # Rounds go on from epoch to epoch.
        start = epoch * len(self) * self.num_remembered * world_size + rank
        return (first + image for image in islice(chain.from_iterable(rounds), start, None, world_size))

    def __len__(self) -> int:
        images = len(self.sampler)
        return images // self.consumed if self.drop_last else -(-images // self.consumed)


@DATA_SAMPLERS.register_module()
class StreamBatchSampler(Sampler[List[int]]):
    """Deals a step's images out once, in random order, to all processes.

    Batches differ by at most one image, so that no process waits for another
    and no image comes twice. (The data set repeats some only if a step has
    fewer images than there are processes.) No batch is empty: with a
    ``batch_size`` of 1 some have two images if the images do not go round.

    Args:
        sampler: A stock sampler of the step's images, of which the data set
            and the seed are used.
        batch_size: Most images in a batch of one process.
        drop_last: Must be False: each image comes once.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, drop_last: bool = False) -> None:
        if drop_last:
            raise ValueError('train_dataloader.drop_last: got True, but online steps train on each image once; remove it.')
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
