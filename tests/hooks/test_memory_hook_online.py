from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate

from mmcss.engine.isolation import tear_down
from mmcss.hooks import MemoryHook, memory_hook
from mmcss.hooks.class_means import ExemplarImages, set_class_means
from mmcss.hooks.data_pass import Pass
from mmcss.memory import Memory
from mmcss.parts import Needs
from tests.hooks.runners import hook_of, leave_first_step, runner_of, stream_config

SIZE = 5


def config(tiny_data, work_dir):
    """A stream whose classifier is of class means."""
    cfg = stream_config(tiny_data, work_dir, dict(size=SIZE, policy='herding'))
    cfg.continual.classifier = 'NearestMean'
    return cfg


@pytest.fixture(scope='module')
def work_dir(tiny_data, tmp_path_factory):
    """Where an untrained step 0 has left its model and its images."""
    folder = tmp_path_factory.mktemp('online')
    leave_first_step(config(tiny_data, folder), MemoryHook)
    return folder


@pytest.fixture
def runner(tiny_data, work_dir):
    """Step 1 before its first batch."""
    made = runner_of(config(tiny_data, work_dir), 1)
    made.optim_wrapper = made.build_optim_wrapper(made.optim_wrapper)
    made.model.init_weights()
    made.model.train()
    hook_of(made, MemoryHook).before_train(made)
    yield made
    tear_down(made)


def iteration(runner, numbers):
    """One batch; the numbers of the new images that were offered."""
    hook, offered = hook_of(runner, MemoryHook), []
    batch = pseudo_collate([runner.train_dataloader.dataset[i] for i in numbers])
    hook.before_train_iter(runner, 0, batch)
    runner.model.train_step(batch, runner.optim_wrapper)
    given = hook.buffer.offer
    hook.buffer.offer = lambda *what: offered.append(what) or given(*what)
    hook.after_train_iter(runner, 0, batch)
    del hook.buffer.offer
    return batch, offered


def test_new_images_alone_are_offered_with_what_the_model_sees(runner):
    hook = hook_of(runner, MemoryHook)
    assert hook.buffer.images_seen == 8 and len(hook.buffer.stored) == SIZE
    assert set(hook.buffer._evidence) == set(range(SIZE))
    batch, offered = iteration(runner, (4, 1))
    (numbers, evidence), = offered
    assert numbers == [4, 1] and len(evidence) == 2 and len(batch['inputs']) == 4
    assert [set(one.features) for one in evidence] == [{2}, {2}]  # blue, of red, green and blue
    assert hook.buffer.images_seen == 9  # image 4 is stored already


def test_the_images_of_all_processes_are_offered(runner, monkeypatch):
    """In the order of their ranks; confidence is over all of them."""
    monkeypatch.setattr(memory_hook, 'all_gather_object', lambda own: [([0], own[1][:1]), own])
    confidence = torch.tensor([[0, 3, 0, 0], [0, 4, 0, 0]])
    monkeypatch.setattr(memory_hook, 'all_reduce', lambda tensor: tensor.copy_(confidence))
    hook = hook_of(runner, MemoryHook)
    _, offered = iteration(runner, (4, 1))
    assert [numbers for numbers, _ in offered] == [[0], [4, 1]] and hook.buffer.images_seen == 9  # 0 and 4 are stored
    assert hook.replay.confidence.tolist() == pytest.approx([.1 * .75, 0, 0])


def test_the_memory_is_written_at_the_end_of_the_epoch(runner, monkeypatch):
    hook = hook_of(runner, MemoryHook)
    iteration(runner, (4, 1))
    expected = [replace(one.exemplar, source=None) for one in hook.buffer.chosen()]
    hook.after_train_epoch(runner)
    memory = Memory.load(hook.path)
    # Written with them is where each image was found.
    assert all(one.source.image.endswith(f'/{one.name}') for one in memory.exemplars)
    assert [replace(one, source=None) for one in memory.exemplars] == expected and memory.images_seen == 9
    assert memory.classes_seen == dict(zip(('red', 'green', 'blue'), hook.buffer.classes_seen.tolist()))
    assert list(memory.confidence) == ['red', 'green', 'blue'] and memory.confidence['blue'] > 0
    hook.path.unlink()
    hook.after_train(runner)
    assert not hook.path.exists()
    monkeypatch.setattr(memory_hook, 'is_main_process', lambda: False)
    hook.after_train_epoch(runner)
    assert not hook.path.exists()


def test_class_means_by_hand(runner):
    """The mean of the pixels' unit vectors, over all remembered images that label them."""
    dataset = runner.train_dataloader.dataset
    exemplars = dataset.memory.exemplars
    images, means = ExemplarImages(dataset, exemplars), runner.model.decode_head.conv_seg.means
    assert len(images) == SIZE and images.metainfo == dataset.metainfo
    sums, counts = torch.zeros(4, 16), torch.zeros(4)
    for batch in Pass(runner, Needs(embedding=True), student=True, images=range(len(images)), dataset=images):
        features = F.interpolate(F.normalize(batch.student.embedding, dim=1), (32, 32), mode='bilinear')
        for c in range(4):
            found = features.permute(0, 2, 3, 1)[batch.raw_target == c]
            sums[c], counts[c] = sums[c] + found.sum(dim=0), counts[c] + len(found)
    set_class_means(runner, exemplars)
    assert (counts[:3] > 0).all() and counts[3] == 0  # none of them is labelled for blue
    torch.testing.assert_close(means[:3, :, 0, 0], F.normalize(sums[:3], dim=1), rtol=1e-4, atol=1e-5)
    assert not means[3].any() and runner.model.training


def test_no_exemplars_no_means(runner):
    set_class_means(runner, [])
    assert not runner.model.decode_head.conv_seg.means.any()


def test_a_model_without_means_is_left_alone(runner):
    head = runner.model.decode_head
    head.conv_seg = torch.nn.Conv2d(16, 4, 1)
    before = head.conv_seg.weight.clone()
    set_class_means(runner, None)
    assert torch.equal(head.conv_seg.weight, before)


def test_a_batch_that_was_stacked_already_is_refused(runner):
    with pytest.raises(ValueError, match='train_dataloader.collate_fn: got one that stacks images, but online steps add'):
        hook_of(runner, MemoryHook).before_train_iter(runner, 0, dict(inputs=torch.zeros(2, 3, 8, 8), data_samples=[]))
