"""What would hang or fail in the middle of a step."""
import pytest
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

import mmcss  # noqa: F401
from mmcss.engine.checks import Batches, check_testing, check_training, deal

BY_EPOCH = dict(type='EpochBasedTrainLoop', max_epochs=3)
BY_ITER = dict(type='IterBasedTrainLoop', max_iters=30)
ENDLESS = dict(type='InfiniteSampler', shuffle=True)
STOCK = dict(type='DefaultSampler', shuffle=True)
REPLAY = dict(type='ReplayBatchSampler', share=0.5, iterations='kept')


@DATA_SAMPLERS.register_module(force=True)
class PairsWithoutEnd(Sampler):
    """A batch sampler that has no length."""

    def __init__(self, sampler, batch_size):
        self.sampler = sampler

    def __iter__(self):
        while True:
            yield [0, 1]


@DATA_SAMPLERS.register_module(force=True)
class ByClass(Sampler):
    """A sampler that looks at the images."""

    def __init__(self, dataset, seed):
        self.labels = [dataset[i] for i in range(len(dataset))]


def config(train_cfg=BY_EPOCH, hooks=(), **loader):
    return Config(dict(train_cfg=train_cfg, custom_hooks=list(hooks),
                       train_dataloader=dict(dict(batch_size=4, sampler=STOCK, dataset=dict(min_length=4)), **loader)))


@pytest.mark.parametrize('loader, number, sizes', [
    ({}, 9, (4, 4, 1)),
    (dict(drop_last=True), 9, (4, 4)),
    (dict(sampler=None), 5, (4, 1)),
    (dict(drop_last=True), 3, ()),
    (dict(num_batch_per_epoch=2), 100, (4, 4)),
    (dict(batch_sampler=dict(type='StreamBatchSampler')), 9, (3, 3, 3)),
    (dict(batch_sampler=dict(REPLAY, iterations='all_new')), 5, (4, 4, 3)),
])
def test_the_batches_of_a_round(loader, number, sizes):
    assert deal(dict(dict(batch_size=4, sampler=STOCK), **loader), number, num_memory=2) == Batches(sizes)


@pytest.mark.parametrize('loader, endless', [
    (dict(sampler=ENDLESS), 'sampler'),
    (dict(sampler=ENDLESS, batch_sampler=REPLAY), 'sampler'),
    (dict(batch_sampler=dict(type='PairsWithoutEnd')), 'batch_sampler'),
    (dict(sampler=ENDLESS, num_batch_per_epoch=2), 'sampler'),
])
def test_batches_without_end(loader, endless):
    loader = dict(dict(batch_size=4, sampler=STOCK), **loader)
    assert deal(loader, 20, num_memory=2) == Batches((4, ), endless)
    with pytest.raises(ValueError, match=f'step 1: train_dataloader.{endless}: {loader[endless]["type"]} never ends, '
                                         'and so the first epoch of train_cfg .EpochBasedTrainLoop.*DefaultSampler'):
        check_training(config(**loader), 1, 20)
    for loop in (BY_ITER, dict(by_epoch=False, max_iters=3)):
        assert check_training(config(loop, **loader), 1, 20).number is None


def test_a_stream_ends_whatever_the_sampler():
    assert check_training(config(sampler=ENDLESS, batch_sampler=dict(type='StreamBatchSampler')), 1, 20).number == 5


def test_a_sampler_that_looks_at_images_is_not_judged():
    assert deal(dict(batch_size=4, sampler=dict(type='ByClass')), 9) is None
    assert check_training(config(sampler=dict(type='ByClass')), 0, 9) is None


@pytest.mark.parametrize('number, loader, hooks, sizes', [
    (9, {}, (), (4, 4, 1)), (9, dict(drop_last=True), (), (4, 4)), (2, dict(batch_size=1, dataset={}), (), (1, 1)),
    (1, {}, (), (4, )),  # repeated to a batch
    (9, dict(sampler=ENDLESS, batch_size=1), (), (1, )),
    (5, dict(batch_sampler=REPLAY), [dict(type='MemoryHook', size=4)], (4, 4)),
    (5, dict(batch_sampler=REPLAY), [dict(type='MemoryHook', size=0)], (4, 1))])
def test_the_batches_of_a_step(number, loader, hooks, sizes):
    loop = BY_ITER if loader.get('sampler') is ENDLESS else BY_EPOCH
    assert check_training(config(loop, hooks, **loader), 0, number).sizes == sizes


@pytest.mark.parametrize('change, message', [
    (dict(train_cfg=dict(BY_EPOCH, max_epochs=0)), 'step 1: train_cfg.max_epochs: got 0, expected at least 1, or an untrained'),
    (dict(train_cfg=dict(by_epoch=False, max_iters=0)), 'train_cfg.max_iters: got 0'),
    (dict(num_batch_per_epoch=3), r'num_batch_per_epoch: got 3, but the step has 9 images: .* at most 2 batches'),
    (dict(num_batch_per_epoch=0), 'num_batch_per_epoch: got 0'),
    (dict(batch_size=16, drop_last=True, dataset={}), 'gives no batch of 9 images with batch_size=16 and drop_last=True'),
])
def test_training_that_would_not_begin(change, message):
    with pytest.raises(ValueError, match=message):
        check_training(config(**change), 1, 9)


@pytest.mark.parametrize('number, batch_size, waits', [(9, 4, True), (8, 4, False), (9, 8, False)])
def test_processes_with_different_numbers_of_batches(monkeypatch, number, batch_size, waits):
    """Nine images in two processes: five and four."""
    found = []
    monkeypatch.setattr('mmcss.engine.checks.agree', lambda what, value, advice: found.append(value))
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        check_training(config(sampler=dict(STOCK, round_up=False), batch_size=batch_size), 0, number)
    assert (found[0] != found[1]) is waits


@pytest.mark.parametrize('role', ['test', 'val'])
@pytest.mark.parametrize('loader, message', [
    (dict(sampler=ENDLESS), 'sampler: InfiniteSampler never ends, and so the test would not end either'),
    (dict(sampler=STOCK, drop_last=True), 'drop_last: got True, which leaves out images')])
def test_tests_that_would_not_end(role, loader, message):
    with pytest.raises(ValueError, match=f'{role}_dataloader.?{message}'):
        check_testing(Config({f'{role}_dataloader': dict(batch_size=1, **loader)}), 4)


def test_good_tests():
    check_testing(Config(dict(test_dataloader=dict(batch_size=3, sampler=STOCK), val_dataloader=None)), 4)
