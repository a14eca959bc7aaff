import copy
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from numpy.random import RandomState

from mmcss.datasets.stream import StreamMemory
from mmcss.engine.teardown import tear_down
from mmcss.hooks import MemoryHook, gradient_reference, interfered_replay, replays
from mmcss.hooks.gradient_reference import GradientReference
from mmcss.hooks.interfered_replay import InterferedReplay
from mmcss.hooks.loss_gradients import kept_tensors, loss_gradients
from mmcss.hooks.random_state_hook import random_state
from mmcss.hooks.replays import DynamicReplay, UniformReplay, class_probabilities
from mmcss.losses.stream_watch import StreamWatch
from tests.hooks.runners import leave_first_step, runner_of, stream_config

MEMORY = dict(size=6, policy='reservoir')


def build(tiny_data, work_dir, **changes):
    """A runner of step 1; its model has no weights yet."""
    return runner_of(stream_config(tiny_data, work_dir, MEMORY, **changes), 1)


@pytest.fixture(scope='module')
def work_dir(tiny_data, tmp_path_factory):
    """Where an untrained step 0 has left its model and six images."""
    folder = tmp_path_factory.mktemp('replays')
    leave_first_step(stream_config(tiny_data, folder, MEMORY), MemoryHook)
    return folder


@pytest.fixture
def runner(tiny_data, work_dir):
    """Step 1 before its first batch, with an optimizer without momentum."""
    made = build(tiny_data, work_dir, optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=.05)))
    made.optim_wrapper = made.build_optim_wrapper(made.optim_wrapper)
    assert len(made.train_dataloader.dataset) == 7
    made.model.init_weights()
    made.model.train()
    yield made
    tear_down(made)


def memory_of(runner):
    memory = StreamMemory(runner.train_dataloader.dataset, 6, 'reservoir', RandomState(0))
    assert len(memory.kept) == 6
    return memory


def batch_of(runner, numbers=(0, 3)):
    return pseudo_collate([runner.train_dataloader.dataset[i] for i in numbers])


def started(kind, runner, seed=5, **options):
    replay = kind(**options)
    replay.begin(runner, memory_of(runner), RandomState(seed))
    return replay


def update(runner, numbers=(0, 3)):
    runner.model.train_step(batch_of(runner, numbers), runner.optim_wrapper)


def processes(monkeypatch, rank, world_size):
    for module in (replays, interfered_replay, gradient_reference):
        monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world_size))


# Draws.


def test_class_probabilities():
    """exp(-eta E) over their sum; large factors don't underflow."""
    confidence = np.array([.1, .9, .4])
    for eta in (0., 1., 10.):
        weights = [math.exp(-eta * one) for one in confidence]
        np.testing.assert_allclose(class_probabilities(confidence, eta), np.array(weights) / sum(weights))
    np.testing.assert_allclose(class_probabilities(np.array([1., 1., .5]), 5000.), [0, 0, 1])


HOLDS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)


def stand_in(kept, confidence=None, **options):
    """A DynamicReplay of three classes, of which the images 0 to 4 show what HOLDS says."""
    dataset = SimpleNamespace(remembered=SimpleNamespace(memory=SimpleNamespace(confidence=confidence or {})))
    replay = DynamicReplay(**options)
    memory = SimpleNamespace(classes=('a', 'b', 'c'), kept=list(kept), holds=HOLDS)
    replay.begin(SimpleNamespace(train_dataloader=SimpleNamespace(dataset=dataset)), memory, RandomState(0))
    return replay


def test_new_classes_start_at_0():
    assert stand_in([0], dict(b=.5, a=.25)).confidence.tolist() == [.25, .5, 0.]


def test_classes_are_drawn_by_confidence_and_then_any_image_of_them():
    """Those without a stored image (c) are left out, whatever their confidence."""
    replay = stand_in([0, 1, 2, 4], dict(a=.8, b=.2, c=0.), eta=3.)
    drawn = replay.draw(20000)
    a, b = class_probabilities(np.array([.8, .2]), 3.)
    shares = [drawn.count(i) / 20000 for i in range(5)]
    np.testing.assert_allclose(shares, [a / 2, b / 2, a / 2 + b / 2, 0, 0], atol=.015)
    flat = stand_in([0, 1, 2, 4], dict(a=.8, b=.2, c=0.), eta=0.).draw(20000)
    np.testing.assert_allclose([flat.count(i) / 20000 for i in range(5)], [.25, .25, .5, 0, 0], atol=.015)


@pytest.mark.parametrize('kept', [[], [4]])
def test_nothing_to_draw(kept):
    """No stored image, or none that shows a class."""
    assert stand_in(kept).draw(3) == []


def test_as_many_as_asked_for_also_of_one_image():
    assert stand_in([3]).draw(3) == [3, 3, 3]


def test_confidence_moves_for_classes_that_were_seen_alone():
    """The first row of sums and counts is background's."""
    replay = stand_in([0], dict(a=.5, b=.5, c=.5), momentum=.9)
    replay.after_iteration(torch.tensor([[9., 2., 0., 3.], [10., 4., 0., 3.]]))
    np.testing.assert_allclose(replay.confidence, [.9 * .5 + .1 * .5, .5, .9 * .5 + .1 * 1.])
    with_unknown = stand_in([0], dict(a=.5, b=.5, c=.5), momentum=0.)
    with_unknown.after_iteration(torch.tensor([[9., 1., 2., 3., 0.], [10., 4., 4., 4., 0.]]))
    assert with_unknown.confidence.tolist() == [.25, .5, .75]


def test_any_stored_images_each_once(runner):
    replay = started(UniformReplay, runner, images=2)
    replay.memory.kept = [1, 4, 5]
    counts = np.zeros(6)
    for _ in range(600):
        drawn = replay.draw(2)
        assert len(set(drawn)) == 2
        counts[drawn] += 1
    np.testing.assert_allclose(counts[[1, 4, 5]] / 600, 2 / 3, atol=.08)
    assert counts.sum() == 1200 and sorted(replay.draw(9)) == [1, 4, 5]
    replay.memory.kept = []
    assert replay.draw(2) == []


def test_batches_get_remembered_images_behind_the_new_ones(runner):
    replay, batch = started(UniformReplay, runner, images=2), batch_of(runner)
    first = list(batch['inputs'])
    replay.before_iteration(batch)
    expected = RandomState(5).choice(range(6), 2, replace=False)
    names = [sample.img_path.rsplit('/')[-1] for sample in batch['data_samples'][2:]]
    assert names == [replay.memory.found[i].exemplar.name for i in expected]
    assert len(batch['inputs']) == 4 and all(a is b for a, b in zip(first, batch['inputs']))
    assert [sample.labelled.tolist() for sample in batch['data_samples']] == [[0, 0, 0, 1]] * 2 + [[0, 1, 1, 0]] * 2


def test_processes_share_one_draw(runner, monkeypatch):
    taken = []
    for rank in range(2):
        processes(monkeypatch, rank, 2)
        replay = started(UniformReplay, runner, images=2)
        monkeypatch.setattr(replay, 'add', lambda batch, images: taken.append(images))
        replay.before_iteration({})
    assert len(set(taken[0] + taken[1])) == 4 and [taken[0][0], taken[1][0], taken[0][1], taken[1][1]] == list(
        RandomState(5).choice(range(6), 4, replace=False))


def test_a_replay_of_no_images_is_refused():
    with pytest.raises(ValueError, match='continual.online.images: got 0, expected at least 1'):
        UniformReplay(images=0)


# Gradients beside the training.


def gradients_by_hand(runner, batch):
    """Of a copy of the model."""
    model = copy.deepcopy(runner.model).train()
    copied = dict(inputs=list(batch['inputs']), data_samples=copy.deepcopy(batch['data_samples']))
    data = model.data_preprocessor(copied, True)
    loss = model.parse_losses(model(**data, mode='loss'))[0]
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())))), model


def test_gradients_of_a_batch(runner):
    """Those of the training, and what the watch saw of it, stay as they are."""
    update(runner)
    watch = next(part for part in runner.model.method.parts.values() if isinstance(part, StreamWatch))
    seen, before = watch.confidence.clone(), {}
    for name, parameter in runner.model.named_parameters():
        before[name] = parameter.grad = None if 'layer1' in name else torch.randn_like(parameter)
    batch = batch_of(runner)
    length = len(batch['inputs']), batch['inputs'][0].clone()
    torch.manual_seed(3)
    expected, _ = gradients_by_hand(runner, batch)
    torch.manual_seed(3)
    found = loss_gradients(runner, batch)
    for name, parameter in runner.model.named_parameters():
        assert torch.equal(found[parameter], expected[name]) and parameter.grad is before[name]
    assert torch.equal(watch.confidence, seen)
    assert (len(batch['inputs']), batch['data_samples'][0].get('batch_input_shape')) == (length[0], None)
    assert torch.equal(batch['inputs'][0], length[1])


def test_tensors_are_kept_also_where_something_fails():
    tensors = [torch.randn(3), torch.nn.Parameter(torch.randn(2))]
    before = [tensor.detach().clone() for tensor in tensors]
    with pytest.raises(KeyError):
        with kept_tensors(tensors), torch.no_grad():
            for tensor in tensors:
                tensor.add_(1)
            raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(tensors, before))


# MIR.


def interference_by_hand(runner, batch, images, seed):
    """How much the loss of each stored image rises, one after another, with a copied model."""
    dataset, model = runner.train_dataloader.dataset, runner.model

    def losses(of):
        of.eval()
        found = []
        for one in loaded:
            data = of.data_preprocessor(copy.deepcopy(pseudo_collate([one])), True)
            with torch.no_grad():
                logits = of.encode_decode(data['inputs'], [data['data_samples'][0].metainfo])
            logits = torch.nn.functional.interpolate(logits, (32, 32), mode='bilinear')
            target = data['data_samples'][0].gt_sem_seg.data
            found.append(torch.nn.functional.cross_entropy(logits, target, ignore_index=255).item())
        return np.array(found)

    seed_all(seed)
    loaded = [dataset.load_exemplar(memory_of(runner).found[i].exemplar) for i in images]
    seed_all(seed)
    gradients, moved = gradients_by_hand(runner, batch)
    before = losses(copy.deepcopy(model))
    # Batch statistics of the trial stay with it.
    with torch.no_grad():
        for name, parameter in moved.named_parameters():
            parameter -= .05 * gradients[name]
    return losses(moved) - before


def seed_all(seed):
    np.random.seed(seed)
    torch.manual_seed(seed)
    random.seed(seed)


def test_the_images_whose_loss_rises_most(runner, monkeypatch):
    batch, replay = batch_of(runner), started(InterferedReplay, runner, images=2, candidates=5)
    drawn = RandomState(5).choice(range(6), 5, replace=False).tolist()
    rises = interference_by_hand(runner, batch, drawn, seed=11)
    expected = [drawn[i] for i in np.argsort(-rises)[:2]]
    taken = []
    monkeypatch.setattr(replay, 'add', lambda batch, images: taken.extend(images))
    seed_all(11)
    replay.before_iteration(batch)
    assert taken == expected and len(set(np.round(rises, 6))) == 5


def test_the_trial_is_taken_back_bit_by_bit(tiny_data, work_dir, monkeypatch):
    runner = build(tiny_data, work_dir)  # with momentum
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.train_dataloader
    runner.model.init_weights()
    runner.model.train()
    update(runner)
    model, replay = runner.model, started(InterferedReplay, runner, images=2, candidates=5)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    batch = batch_of(runner)
    monkeypatch.setattr(replay, 'add', lambda *_: None)  # what is added is loaded with random numbers, as ever

    def everything():
        state = {name: value.clone() for name, value in model.state_dict().items()}
        moments = [dict(own) for own in copy.deepcopy(runner.optim_wrapper.optimizer.state_dict())['state'].values()]
        return state, [p.grad.clone() for p in model.parameters()], moments, random_state(), model.training

    before, moved = everything(), []
    losses = replay._losses
    monkeypatch.setattr(replay, '_losses', lambda images: moved.append(
        {name: value.clone() for name, value in model.state_dict().items()}) or losses(images))
    replay.before_iteration(batch)
    after = everything()
    assert len(moved) == 2 and not torch.equal(*(state['decode_head.conv_seg.weight'] for state in moved))
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert all(torch.equal(a, b) for a, b in zip(before[1], after[1]))
    assert len(before[2]) > 10 and all(
        torch.equal(a['momentum_buffer'], b['momentum_buffer']) for a, b in zip(before[2], after[2]))
    assert before[3]['python'][1].tolist() == after[3]['python'][1].tolist()
    assert torch.equal(before[3]['numpy'][1], after[3]['numpy'][1]) and before[3]['numpy'][2:] == after[3]['numpy'][2:]
    assert torch.equal(before[3]['torch'], after[3]['torch']) and before[4] and after[4]
    tear_down(runner)


def test_few_stored_images_are_taken_untried(runner, monkeypatch):
    replay, batch = started(InterferedReplay, runner, images=2), batch_of(runner)
    replay.memory.kept = [4, 1]
    monkeypatch.setattr(interfered_replay, 'loss_gradients', None)
    replay.before_iteration(batch)
    assert len(batch['inputs']) == 4
    replay.memory.kept = []
    replay.before_iteration(batch)
    assert len(batch['inputs']) == 4


def test_processes_judge_their_shares(runner, monkeypatch):
    """Of five images drawn four can be shared by two processes; the scores come back in the order of the draw."""
    drawn = RandomState(5).choice(range(6), 5, replace=False).tolist()[:4]
    rising = dict(zip(drawn, (.1, .4, .2, .3)))
    for rank in range(2):
        processes(monkeypatch, rank, 2)
        replay, judged, taken = started(InterferedReplay, runner, images=1, candidates=5), [], []
        monkeypatch.setattr(replay, 'load', lambda images: judged.append(images) or images)
        monkeypatch.setattr(replay, 'add', lambda batch, images: taken.extend(images))
        monkeypatch.setattr(replay, '_losses', lambda images: torch.zeros(len(images)))
        monkeypatch.setattr(interfered_replay, 'loss_gradients', lambda *_: {})
        monkeypatch.setattr(interfered_replay, 'all_gather', lambda own: [
            torch.tensor([rising[i] for i in drawn[other::2]]) for other in range(2)])
        replay.before_iteration({})
        assert judged == [drawn[rank::2]] and taken == [[drawn[1], drawn[3]][rank]]


# A-GEM.


def dot(one, other):
    return sum((a.double() * b.double()).sum().item() for a, b in zip(one, other))


@pytest.mark.parametrize('sign', [1., -1.])
def test_no_update_goes_against_the_reference(runner, monkeypatch, sign):
    """Where it would (the reference's loss turned round), only the part against it is taken out."""
    replay, seen = started(GradientReference, runner, images=2), []
    given = gradient_reference.loss_gradients
    monkeypatch.setattr(gradient_reference, 'loss_gradients', lambda *inputs: seen.append(
        ({p: p.grad.clone() for p in runner.model.parameters()}, {p: sign * g for p, g in given(*inputs).items()})) or
        seen[-1][1])
    # Among them the batch's own images, so that both gradients point alike.
    monkeypatch.setattr(replay, 'load', lambda images: [runner.train_dataloader.dataset[i] for i in (0, 3)])
    monkeypatch.setattr(runner.optim_wrapper, 'zero_grad', lambda **_: None)  # to see what was applied
    before = [p.detach().clone() for p in runner.model.parameters()]
    update(runner)
    (new, reference), = seen
    g, r = ([own[p] for p in runner.model.parameters()] for own in (new, reference))
    applied = [p.grad for p in runner.model.parameters()]
    assert all(torch.allclose(a - .05 * step, p) for a, step, p in zip(before, applied, runner.model.parameters()))
    assert dot(g, r) * sign > 0
    if sign > 0:
        assert all(torch.equal(a, b) for a, b in zip(applied, g))
    else:
        share = dot(g, r) / dot(r, r)
        for a, b, c in zip(applied, g, r):
            torch.testing.assert_close(a, b - share * c, rtol=1e-4, atol=1e-6)
    assert dot(applied, r) >= -1e-4 * dot(r, r)
    replay.end()


def test_the_reference_is_of_stored_images_alone(runner, monkeypatch):
    replay, seen = started(GradientReference, runner, images=2), []
    given = gradient_reference.loss_gradients
    monkeypatch.setattr(gradient_reference, 'loss_gradients', lambda of, batch: seen.append(
        [sample.img_path.rsplit('/')[-1] for sample in batch['data_samples']]) or given(of, batch))
    batch = batch_of(runner)
    replay.before_iteration(batch)
    assert len(batch['inputs']) == 2
    runner.model.train_step(batch, runner.optim_wrapper)
    expected = RandomState(5).choice(range(6), 2, replace=False)
    assert seen == [[replay.memory.found[i].exemplar.name for i in expected]]
    replay.end()
    update(runner)
    assert len(seen) == 1  # nothing of it is left


def test_an_empty_memory_bounds_nothing(runner, monkeypatch):
    replay = started(GradientReference, runner, images=2)
    replay.memory.kept = []
    monkeypatch.setattr(gradient_reference, 'loss_gradients', None)
    update(runner)
    replay.end()


@pytest.mark.parametrize('rank', range(3))
def test_each_process_takes_part_though_fewer_images_are_stored(runner, monkeypatch, rank):
    """One that stayed away would have the others wait for its gradients."""
    replay, seen = started(GradientReference, runner, images=2), []
    replay.memory.kept = [4, 1]
    processes(monkeypatch, rank, 3)
    monkeypatch.setattr(replay, 'load', lambda images: seen.append(images) or [dict(inputs=None)])
    monkeypatch.setattr(gradient_reference, 'loss_gradients', lambda *_: {})
    monkeypatch.setattr(gradient_reference, 'project', lambda *_: [])
    replay.constrain()
    drawn = RandomState(5).choice([4, 1], 2, replace=False).tolist()
    assert seen == [[drawn[rank % 2]]]
    replay.end()


def test_accumulated_gradients_are_bounded_once_an_update(tiny_data, work_dir, monkeypatch):
    wrapper = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=.05))
    runner = build(tiny_data, work_dir, optim_wrapper=wrapper)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.train_dataloader
    runner.model.init_weights()
    replay, sizes = started(GradientReference, runner, images=2), []
    monkeypatch.setattr(gradient_reference, 'loss_gradients', lambda *_: sizes.append(1) or {})
    monkeypatch.setattr(gradient_reference, 'project', lambda *_: [])
    for expected in (0, 1, 1, 2):
        update(runner)
        assert len(sizes) == expected
    replay.end()
    tear_down(runner)


# What does not go.


@pytest.mark.parametrize('kind', [GradientReference, InterferedReplay])
def test_several_optimizers(kind):
    with pytest.raises(ValueError, match='looks at the updates of one optimizer, and this optim_wrapper has several'):
        kind().begin(SimpleNamespace(optim_wrapper={}), None, None)
