import math

import numpy as np
import pytest
import torch

from mmcss.losses.entropy import MedianPerGroup, entropy_and_class
from tests.losses import loops

LOWEST, TOP = 2.**-20, 16 - 2.**-9  # lower edges of the first and the last bin


def draw(number, groups, seed=0):
    """Values over most octaves, a group each, and a mask."""
    generator = np.random.default_rng(seed)
    values = np.exp2(generator.uniform(-19, 3.9, number)).astype(np.float32)
    return (torch.from_numpy(values), torch.from_numpy(generator.integers(0, groups, number)),
            torch.from_numpy(generator.random(number) < .7))


def collect(groups, *batches):
    medians = MedianPerGroup(groups)
    for batch in batches:
        medians.add(*batch)
    return medians


def everything(values):
    return values, torch.zeros(values.shape, dtype=torch.int64), torch.ones(values.shape, dtype=torch.bool)


def test_entropy_per_pixel():
    logits = 4 * torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    entropy, predicted = entropy_and_class(logits)
    assert entropy.dtype == torch.float32 and predicted.dtype == torch.int64
    np.testing.assert_allclose(entropy, loops.entropy(logits), rtol=1e-5, atol=1e-6)
    assert torch.equal(predicted, logits.argmax(dim=1))


def test_entropy_of_the_extremes():
    even, certain = torch.zeros(7), torch.tensor([0., 0, 0, 1e5, 0, 0, 0])
    entropy, predicted = entropy_and_class(torch.stack((even, certain), dim=1).view(1, 7, 1, 2))
    assert entropy[0, 0, 0].item() == pytest.approx(math.log(7), rel=1e-6)
    assert entropy[0, 0, 1].item() == 0
    assert predicted[0, 0, 1].item() == 3


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_entropy_of_low_precision_is_computed_in_float32(dtype):
    logits = (5 * torch.randn(1, 5, 6, 6, generator=torch.Generator().manual_seed(1))).to(dtype)
    for found, expected in zip(entropy_and_class(logits), entropy_and_class(logits.float())):
        assert found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.mark.parametrize('number', [60, 61, 3000])
def test_medians_are_lower_medians_of_each_group(number):
    values, groups, mask = draw(number, 7)
    found = collect(7, (values, groups, mask)).medians()
    assert found.dtype == torch.float32
    for group in range(7):
        chosen = np.sort(values[(groups == group) & mask].numpy())
        median = chosen[(len(chosen) - 1) // 2]
        assert median / (1 + 2.**-12) < found[group].item() <= median


@pytest.mark.parametrize('values, median', [([.5], .5), ([.25, .5], .25), ([.5, 1, .25], .5), ([4, 1, 2, .125], 1),
                                            ([1, 1, 1, 8], 1)])
def test_medians_of_few_values(values, median):
    """Powers of two stand on the edges of bins, so that these are exact."""
    assert collect(1, everything(torch.tensor(values, dtype=torch.float32))).medians().tolist() == [median]


def test_empty_and_masked_groups_are_0():
    values, groups = torch.tensor([.5, .5, 1.]), torch.tensor([0, 2, 3])
    medians = collect(5, (values, groups, torch.tensor([True, False, True])))
    assert medians.medians().tolist() == [.5, 0, 0, 1, 0]
    assert collect(3).medians().tolist() == [0, 0, 0]


def test_order_and_batches_do_not_matter():
    values, groups, mask = draw(1000, 5)
    whole = collect(5, (values, groups, mask))
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(2))
    shuffled = collect(5, *zip(values[order].split(130), groups[order].split(130), mask[order].split(130)))
    assert torch.equal(whole.counts, shuffled.counts)
    assert whole.counts.sum() == mask.sum()


def test_counts_of_two_processes_add_up():
    values, groups, mask = draw(1001, 5)
    whole = collect(5, (values, groups, mask))
    one, other = collect(5, (values[:300], groups[:300], mask[:300])), collect(5, (values[300:], groups[300:], mask[300:]))
    assert not torch.equal(one.medians(), whole.medians())
    one.counts += other.counts
    assert torch.equal(one.medians(), whole.medians())


@pytest.mark.parametrize('value, edge', [(0., LOWEST), (-0., LOWEST), (1e-12, LOWEST), (LOWEST, LOWEST),
                                         (16., TOP), (1e6, TOP), (math.inf, TOP)])
def test_values_beyond_the_bins_count_at_their_ends(value, edge):
    assert collect(1, everything(torch.tensor([value]))).medians().item() == edge


def test_values_outside_do_not_leak_into_other_groups():
    values = torch.tensor([1e6, 0., 1.])
    assert collect(3, (values, torch.arange(3), torch.ones(3, dtype=torch.bool))).medians().tolist() == [TOP, LOWEST, 1]


def test_maps_of_any_layout():
    values = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(3)).transpose(0, 2)
    groups = torch.arange(24).view(4, 3, 2) % 2
    mask = torch.ones(4, 3, 2, dtype=torch.bool)
    assert not values.is_contiguous()
    flat = collect(2, (values.flatten(), groups.flatten(), mask.flatten()))
    assert torch.equal(collect(2, (values, groups, mask)).counts, flat.counts)


def test_memory_does_not_grow_with_the_data():
    medians = collect(2, draw(10, 2))
    size = medians.counts.numel()
    medians.add(*draw(5000, 2))
    assert medians.counts.numel() == size
