from collections import Counter
from itertools import islice

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler

from mmcss.memory import ReplayBatchSampler, StreamBatchSampler, samplers


class Images:
    """So many images of a step, and so many remembered ones behind them."""

    def __init__(self, number, num_memory):
        self.number, self.num_memory, self.first_remembered = number, num_memory, number

    def __len__(self):
        return self.number


def batches_of(number, num_memory, batch_size, seed=0, **options):
    return ReplayBatchSampler(DefaultSampler(Images(number, num_memory), seed=seed), batch_size, **dict(dict(share=.5, iterations='kept'), **options))


def parted(batches, number):
    """New and remembered images of each batch."""
    return ([[i for i in batch if i < number] for batch in batches],
            [[i for i in batch if i >= number] for batch in batches])


def flat(lists):
    return [image for images in lists for image in images]


@pytest.mark.parametrize('iterations, drop_last, number, new', [
    ('kept', False, 8, [2, 2]),
    ('kept', False, 10, [2, 2, 2]),
    ('kept', True, 10, [2, 2]),
    ('kept', True, 11, [2, 2]),
    ('kept', False, 1, [1]),
    ('kept', True, 3, []),
    ('all_new', False, 8, [2, 2, 2, 2]),
    ('all_new', False, 9, [2, 2, 2, 2, 1]),
    ('all_new', True, 9, [2, 2, 2, 2]),
    ('all_new', True, 10, [2, 2, 2, 2, 2]),
    ('all_new', True, 1, []),
])
def test_length_and_content_of_batches(iterations, drop_last, number, new):
    sampler = batches_of(number, 6, 4, iterations=iterations, drop_last=drop_last)
    batches = list(sampler)
    assert len(sampler) == len(batches) == len(new)
    shown, memory = parted(batches, number)
    assert [len(batch) for batch in shown] == new
    assert [len(batch) for batch in memory] == [2] * len(new)
    assert set(flat(memory)) <= set(range(number, number + 6))
    assert len(set(flat(shown))) == sum(new)
    # New images stand first.
    assert batches == [a + b for a, b in zip(shown, memory)]


def test_as_many_batches_as_without_memory():
    for number in range(1, 14):
        for drop_last in (False, True):
            plain = BatchSampler(DefaultSampler(Images(number, 0), seed=0), 4, drop_last)
            assert len(batches_of(number, 3, 4, drop_last=drop_last)) == len(plain)


def test_new_images_come_in_the_order_of_the_sampler():
    order = list(DefaultSampler(Images(10, 6), seed=3))
    for iterations, taken in (('kept', 6), ('all_new', 10)):
        shown, _ = parted(batches_of(10, 6, 4, seed=3, iterations=iterations), 10)
        assert flat(shown) == order[:taken]


@pytest.mark.parametrize('num_memory', [1, 2, 3, 7, 10])
def test_every_remembered_image_comes_once_before_any_comes_again(num_memory):
    _, memory = parted(batches_of(24, num_memory, 4, iterations='all_new'), 24)
    stream = flat(memory)
    assert len(stream) == 24
    for start in range(0, 24, num_memory):
        part = stream[start:start + num_memory]
        assert len(set(part)) == len(part)
        if len(part) == num_memory:
            assert set(part) == set(range(24, 24 + num_memory))


def test_each_round_has_an_order_of_its_own():
    _, memory = parted(batches_of(40, 10, 4, iterations='all_new'), 40)
    stream = flat(memory)
    assert len({tuple(stream[start:start + 10]) for start in range(0, 40, 10)}) == 4


@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('iterations', ['kept', 'all_new'])
def test_without_memory_batches_are_the_stock_ones(drop_last, iterations):
    for number in (1, 7, 8, 9):
        sampler = batches_of(number, 0, 4, share=.5, iterations=iterations, drop_last=drop_last)
        plain = BatchSampler(DefaultSampler(Images(number, 0), seed=0), 4, drop_last)
        assert list(sampler) == list(plain)
        assert len(sampler) == len(plain)


def test_an_epoch_has_its_own_batches():
    """A run that goes on at epoch 1 sees what the whole run has seen there."""
    sampler, later = batches_of(12, 9, 4), batches_of(12, 9, 4)
    first, again = list(sampler), list(sampler)
    assert first == again
    sampler.sampler.set_epoch(1)
    later.sampler.set_epoch(1)
    second = list(sampler)
    assert second == list(later)
    for part in (0, 1):
        assert parted(first, 12)[part] != parted(second, 12)[part]


def test_another_seed_has_other_batches():
    memory = [parted(batches_of(12, 9, 4, seed=seed), 12)[1] for seed in (0, 1)]
    assert memory[0] != memory[1]


def test_random_numbers_of_the_process_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    list(batches_of(12, 9, 4))
    assert torch.rand(3).tolist() == expected


@pytest.mark.parametrize('iterations', ['kept', 'all_new'])
@pytest.mark.parametrize('drop_last', [False, True])
def test_an_infinite_sampler_never_stops(iterations, drop_last):
    sampler = ReplayBatchSampler(
        InfiniteSampler(Images(7, 5), seed=0), 4, share=.5, iterations=iterations, drop_last=drop_last)
    batches = list(islice(sampler, 70))
    shown, memory = parted(batches, 7)
    assert [len(batch) for batch in shown] == [2] * 70
    assert [len(batch) for batch in memory] == [2] * 70
    assert Counter(flat(shown)) == dict.fromkeys(range(7), 20)
    assert Counter(flat(memory)) == dict.fromkeys(range(7, 12), 28)
    assert flat(shown) == list(islice(InfiniteSampler(Images(7, 5), seed=0), 140))


def test_an_infinite_sampler_without_memory():
    sampler = ReplayBatchSampler(InfiniteSampler(Images(7, 0), seed=0), 4, .5, 'kept')
    stock = list(islice(InfiniteSampler(Images(7, 0), seed=0), 40))
    assert flat(islice(sampler, 10)) == stock


def test_a_sampler_without_epochs_that_begins_anew_remembers_other_images_first():
    sampler = ReplayBatchSampler(InfiniteSampler(Images(7, 50), seed=0), 20, .5, 'kept')
    # Both are held: a stock infinite sampler ends with an iterator that is thrown away.
    begun = [iter(sampler), iter(sampler)]
    first, second = ([i for i in next(batches) if i >= 7] for batches in begun)
    assert len(first) == len(second) == 10
    assert first != second


@pytest.mark.parametrize('batch_size, share, remembered', [
    (4, 0.5, 2), (5, 0.5, 3), (2, 0.5, 1), (4, 0.25, 1), (10, 0.24, 2), (10, 0.25, 3), (10, 0.26, 3), (16, 0.3, 5),
    (4, 0.8, 3), (24, 0.5, 12),
])
def test_share_is_rounded_to_images(batch_size, share, remembered):
    sampler = batches_of(60, 40, batch_size, share=share)
    shown, memory = parted(sampler, 60)
    assert {len(batch) for batch in memory} == {remembered}
    assert {len(batch) for batch in shown} == {batch_size - remembered}
    assert len(shown) == -(-60 // batch_size)


@pytest.mark.parametrize('batch_size, share', [(1, 0.5), (4, 0.1), (4, 0.9), (1, 0.2)])
def test_a_batch_without_room_for_both(batch_size, share):
    message = f'memory.share: {share} of a batch of {batch_size} leaves no room for new or remembered images'
    with pytest.raises(ValueError, match=message):
        batches_of(8, 4, batch_size, share=share)


def test_remembered_images_stand_behind_all_of_the_step_where_an_epoch_has_a_part_of_them():
    """Runners cut the data set for num_batch_per_epoch."""
    images = Images(5, 4)
    images.first_remembered = 9  # of nine images, five are shown
    batches = list(ReplayBatchSampler(DefaultSampler(images, seed=0), 4, .5, 'kept'))
    assert {i for batch in batches for i in batch if i >= 5} <= {9, 10, 11, 12}
    assert sum(i >= 9 for batch in batches for i in batch) == 2 * len(batches)


def test_is_built_as_the_runner_builds_it():
    stock = DefaultSampler(Images(10, 6), seed=0)
    sampler = DATA_SAMPLERS.build(
        dict(type='ReplayBatchSampler', drop_last=False, share=0.5, iterations='all_new'),
        default_args=dict(sampler=stock, batch_size=4))
    assert list(sampler) == list(batches_of(10, 6, 4, iterations='all_new'))


def in_process(monkeypatch, rank, world_size, number, num_memory, batch_size, **options):
    """All batches of one process of several."""
    for module in ('mmcss.memory.samplers', 'mmengine.dataset.sampler'):
        monkeypatch.setattr(f'{module}.get_dist_info', lambda: (rank, world_size))
    return list(batches_of(number, num_memory, batch_size, **options))


@pytest.mark.parametrize('iterations', ['kept', 'all_new'])
@pytest.mark.parametrize('world_size', [2, 3])
def test_processes_together_remember_what_one_would(monkeypatch, iterations, world_size):
    number, num_memory = 24, 12
    alone = in_process(monkeypatch, 0, 1, number, num_memory, 4 * world_size, iterations=iterations)
    each = [in_process(monkeypatch, rank, world_size, number, num_memory, 4, iterations=iterations)
            for rank in range(world_size)]
    assert {len(batches) for batches in each} == {len(alone)}
    for whole, *parts in zip(alone, *each):
        for kind in (0, 1):
            expected = parted([whole], number)[kind][0]
            of_processes = [parted([part], number)[kind][0] for part in parts]
            assert len(set(flat(of_processes))) == 2 * world_size
            # The stream of one process is dealt out in turns.
            assert [image for turn in zip(*of_processes) for image in turn] == expected


def test_processes_share_a_memory_that_their_batches_do_not_divide(monkeypatch):
    each = [in_process(monkeypatch, rank, 2, 40, 7, 4, iterations='all_new') for rank in range(2)]
    first, second = (flat(parted(batches, 40)[1]) for batches in each)
    stream = [image for both in zip(first, second) for image in both]
    assert len(stream) == 40
    assert all(set(stream[start:start + 7]) == set(range(40, 47)) for start in range(0, 35, 7))


# Of a stream.


class Stock:
    """What a batch sampler asks of a stock sampler."""

    def __init__(self, number, seed=0):
        self.dataset, self.seed = range(number), seed


def deal(monkeypatch, number, batch_size, world_size, seed=0):
    """The batches of each process."""
    batches = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, world_size))
        sampler = StreamBatchSampler(Stock(number, seed), batch_size)
        batches.append(list(sampler))
        assert len(sampler) == len(batches[-1])
    return batches


@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('batch_size', [1, 2, 4])
@pytest.mark.parametrize('number', [3, 4, 7, 13, 24, 25])
def test_each_image_is_dealt_once(monkeypatch, number, batch_size, world_size):
    dealt = deal(monkeypatch, number, batch_size, world_size)
    assert sorted(image for own in dealt for batch in own for image in batch) == list(range(number))
    assert len({len(own) for own in dealt}) == 1
    sizes = [len(batch) for own in dealt for batch in own]
    assert min(sizes) > 0 and max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size or (batch_size, max(sizes)) == (1, 2)
    if batch_size > 1 or number % world_size == 0:
        assert len(dealt[0]) == -(-number // (batch_size * world_size)) and max(sizes) <= batch_size


def test_the_order_is_that_of_the_seed(monkeypatch):
    orders = [deal(monkeypatch, 13, 4, 1, seed)[0] for seed in (0, 0, 1, None)]
    assert orders[0] == orders[1] == orders[3] != orders[2]
    assert orders[0] != [list(range(4)), list(range(4, 8)), list(range(8, 12)), [12]]
    flat = [image for batch in orders[0] for image in batch]
    assert flat != sorted(flat) and [len(batch) for batch in orders[0]] == [4, 3, 3, 3]


def test_images_are_not_left_out(monkeypatch):
    with pytest.raises(ValueError, match='train_dataloader.drop_last: got True, but online steps train on each image once'):
        StreamBatchSampler(Stock(5), 2, drop_last=True)
