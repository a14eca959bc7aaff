"""Entropy of predictions, and medians of it from a single pass."""
from __future__ import annotations

from typing import Tuple

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


class GroupHistogram:
    """Histograms of a stream of values, one for each group, from which subclasses estimate medians.

    Their memory does not grow with the data, and counts do not depend on the
    order and add up over processes; none of this holds for stored values.

    Attributes:
        counts: ``[num_groups, NUM_BINS]`` int64.
    """

    NUM_BINS: int

    def __init__(self, num_groups: int) -> None:
        self.counts = torch.zeros(num_groups, self.NUM_BINS, dtype=torch.int64)

    def add(self, values: Tensor, groups: Tensor, mask: Tensor) -> None:
        """Count values where ``mask`` holds.

        Args:
            values: float32, any shape, at least 0.
            groups: int64 of the same shape, in 0 to ``num_groups - 1``.
            mask: bool of the same shape.
        """
        bins = self.bins_of(values).to(torch.int64).clamp(0, self.NUM_BINS - 1)
        self.counts = self.counts.to(values.device)
        # Adding the mask instead of selecting by it needs no synchronisation.
        self.counts.view(-1).index_add_(0, (groups * self.NUM_BINS + bins).flatten(), mask.flatten().to(torch.int64))

    def bins_of(self, values: Tensor) -> Tensor:
        """The number of each value's bin, which may be out of range."""
        raise NotImplementedError

    def medians(self) -> Tensor:
        """``[num_groups]`` float32, 0 for empty groups."""
        raise NotImplementedError


class MedianPerGroup(GroupHistogram):
    """Medians exact to 12 bits of mantissa: the lower edge of the bin that holds each lower median.

    The bits of a positive float32 order like the float, so its leading ones
    number a bin whose width is 1/4096 of its octave.
    """

    BITS = 12
    LOWEST = -20  # 2**-20: smaller values count as this
    OCTAVES = 24  # up to 2**4
    NUM_BINS = OCTAVES << BITS
    OFFSET = (127 + LOWEST) << BITS

    def bins_of(self, values: Tensor) -> Tensor:
        return (values.float().contiguous().view(torch.int32) >> (23 - self.BITS)) - self.OFFSET

    def medians(self) -> Tensor:
        total = self.counts.sum(dim=1, keepdim=True)
        bins = (self.counts.cumsum(dim=1) < (total + 1) // 2).sum(dim=1)
        edges = ((bins + self.OFFSET) << (23 - self.BITS)).to(torch.int32).view(torch.float32)
        return torch.where(total[:, 0] > 0, edges, 0)


class CoarseHistogram(GroupHistogram):
    """The threshold estimator of PLOP's released code, slips included.

    A histogram of 100 bins over 0 to 1 is walked until its running sum
    encloses half of the values. The running sum adds up the numbers of the
    bins in place of their counts, so that it is right in the first bin alone,
    where the code's measure leaves most values. A walk that reaches no such
    bin divides by the last bin's count: mostly infinity, or NaN.
    Source: https://github.com/arthurdouillard/CVPR2021_PLOP, ``find_median``.
    """

    NUM_BINS = 100

    def bins_of(self, values: Tensor) -> Tensor:
        return values * self.NUM_BINS

    def medians(self) -> Tensor:
        counts = self.counts.double()
        half = counts.sum(dim=1, keepdim=True) / 2
        bins = torch.arange(self.NUM_BINS, device=counts.device).double()
        before = bins * (bins - 1) / 2  # the sum of the bins' numbers, as the code has it
        encloses = (before <= half) & (half <= before + counts)
        missed = ~encloses.any(dim=1)
        stop = torch.where(missed, self.NUM_BINS - 1, encloses.int().argmax(dim=1))
        # A walk to the end has added the last number, too.
        running = torch.where(missed, bins.sum(), before[stop])
        count = counts.gather(1, stop[:, None])[:, 0]
        medians = stop / self.NUM_BINS + (half[:, 0] - running) / count / self.NUM_BINS
        return torch.where(half[:, 0] > 0, medians, 0).float()
