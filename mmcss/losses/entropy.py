"""Entropy of predictions, and its medians in one pass."""
from __future__ import annotations

from typing import Tuple, Union

import torch
from torch import Tensor


def entropy_and_class(logits: Tensor) -> Tuple[Tensor, Tensor]:
    """Shannon entropy and arg-max of each pixel, from one log-softmax.

    Args:
        logits: ``[N, C, H, W]``.

    Returns:
        Entropy in nats, ``[N, H, W]`` float32 in 0 to ln C, and the predicted
        class, ``[N, H, W]`` int64.
    """
    log_probability = logits.float().log_softmax(dim=1)
    entropy = -(log_probability.exp() * log_probability).sum(dim=1)
    return entropy.clamp(min=0), log_probability.argmax(dim=1)


class MedianPerGroup:
    """Medians of a stream of values per group, exact to 12 bits of mantissa.

    The bits of a positive float32 order like the float, so its leading ones
    name a bin whose width is 1/4096 of its octave. Counting bins takes one
    pass and memory that does not grow with the data, does not depend on the
    order, and adds up over processes; a median of stored values does neither.

    Args:
        num_groups: Number of groups.
    """

    BITS = 12
    LOWEST = -20  # 2**-20: smaller values count as this
    OCTAVES = 24  # up to 2**4

    def __init__(self, num_groups: int) -> None:
        self.num_groups = num_groups
        self.num_bins = self.OCTAVES << self.BITS
        self.counts = torch.zeros(num_groups * self.num_bins, dtype=torch.int64)

    @property
    def _offset(self) -> int:
        return (127 + self.LOWEST) << self.BITS

    def add(self, values: Tensor, groups: Tensor, mask: Tensor) -> None:
        """Count values where ``mask`` holds.

        Args:
            values: float32, any shape, at least 0.
            groups: int64 of the same shape, in 0 to ``num_groups - 1``.
            mask: bool of the same shape.
        """
        bins = (values.float().contiguous().view(torch.int32) >> (23 - self.BITS)) - self._offset
        bins = bins.clamp(0, self.num_bins - 1).to(torch.int64)
        index = (groups * self.num_bins + bins).flatten()
        self.counts = self.counts.to(index.device)
        # Adding the mask instead of selecting by it needs no synchronisation.
        self.counts.index_add_(0, index, mask.flatten().to(torch.int64))

    def medians(self) -> Tensor:
        """``[num_groups]`` float32: lower edge of the bin that holds each lower median, 0 for empty groups."""
        counts = self.counts.view(self.num_groups, self.num_bins)
        total = counts.sum(dim=1, keepdim=True)
        bins = (counts.cumsum(dim=1) < (total + 1) // 2).sum(dim=1)
        edges = ((bins + self._offset) << (23 - self.BITS)).to(torch.int32).view(torch.float32)
        return torch.where(total[:, 0] > 0, edges, 0)


class CoarseHistogram:
    """The threshold estimator of PLOP's released code, slips included.

    A histogram of 100 bins over 0 to 1 is walked until its running sum
    encloses half of the values. The running sum adds up the numbers of the
    bins in place of their counts, so that it is right in the first bin alone,
    where the code's measure leaves most values. A walk that finds no bin
    gives what the code divides there by the last bin's count: mostly
    infinity, or NaN.
    Source: https://github.com/arthurdouillard/CVPR2021_PLOP, ``find_median``.

    Args:
        num_groups: Number of groups.
    """

    BINS = 100

    def __init__(self, num_groups: int) -> None:
        self.counts = torch.zeros(num_groups * self.BINS, dtype=torch.int64)

    def add(self, values: Tensor, groups: Tensor, mask: Tensor) -> None:
        """As :meth:`MedianPerGroup.add`."""
        bins = (values * self.BINS).long().clamp(0, self.BINS - 1)
        self.counts = self.counts.to(values.device)
        self.counts.index_add_(0, (groups * self.BINS + bins).flatten(), mask.flatten().to(torch.int64))

    def medians(self) -> Tensor:
        """``[num_groups]`` float32, 0 for empty groups."""
        counts = self.counts.view(-1, self.BINS).double()
        half = counts.sum(dim=1, keepdim=True) / 2
        bins = torch.arange(self.BINS, device=counts.device).double()
        before = bins * (bins - 1) / 2  # the sum of the bins' numbers, as the code has it
        encloses = (before <= half) & (half <= before + counts)
        missed = ~encloses.any(dim=1)
        stop = torch.where(missed, self.BINS - 1, encloses.int().argmax(dim=1))
        # A walk to the end has added the last number, too.
        running = torch.where(missed, bins.sum(), before[stop])
        count = counts.gather(1, stop[:, None])[:, 0]
        medians = stop / self.BINS + (half[:, 0] - running) / count / self.BINS
        return torch.where(half[:, 0] > 0, medians, 0).float()


Medians = Union[MedianPerGroup, CoarseHistogram]
