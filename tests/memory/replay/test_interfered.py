"""MIR."""
import copy
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from numpy.random import RandomState

from mmcss.engine.isolation import tear_down
from mmcss.memory.replay import interfered
from mmcss.memory.replay.interfered import InterferedReplay, preserved_tensors
from mmcss.random_state import random_state
from mmcss.session import Training
from tests.memory.replay.streams import act_as, batch_of, build, gradients_by_hand, memory_of, started, update


def interference_by_hand(runner, batch, images, seed):
    """How much the loss of each stored image rises, one after another, with a copied model."""
    dataset, model = runner.train_dataloader.dataset, runner.model

    def losses(of):
        of.eval()
        losses = []
        for image in loaded:
            data = of.data_preprocessor(copy.deepcopy(pseudo_collate([image])), True)
            with torch.no_grad():
                logits = of.encode_decode(data['inputs'], [data['data_samples'][0].metainfo])
            logits = torch.nn.functional.interpolate(logits, (32, 32), mode='bilinear')
            target = data['data_samples'][0].gt_sem_seg.data
            losses.append(torch.nn.functional.cross_entropy(logits, target, ignore_index=255).item())
        return np.array(losses)

    seed_all(seed)
    loaded = [dataset.load_exemplar(memory_of(runner).candidates[i].exemplar) for i in images]
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


def test_the_trial_is_taken_back_bit_by_bit(tiny_data, stream_dir, monkeypatch):
    runner = build(tiny_data, stream_dir)  # with momentum
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

    before, moved, gradients = everything(), [], []
    gradients_of = replay.training.gradients
    monkeypatch.setattr(replay.training, 'gradients', lambda batch: gradients.append(gradients_of(batch)) or gradients[0])
    losses = replay._losses
    monkeypatch.setattr(replay, '_losses', lambda images: moved.append(
        {name: value.clone() for name, value in model.state_dict().items()}) or losses(images))
    replay.before_iteration(batch)
    after = everything()
    assert len(moved) == 2 and len(gradients[0]) > 10
    rate, = runner.optim_wrapper.get_lr()['lr']
    for name, parameter in model.named_parameters():  # the trial is a plain step at the rate of the training
        torch.testing.assert_close(moved[1][name], moved[0][name] - rate * gradients[0][parameter])
    assert not torch.equal(*(state['decode_head.conv_seg.weight'] for state in moved))
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
    replay.buffer.stored = [4, 1]
    monkeypatch.setattr(replay.training, 'gradients', None)
    replay.before_iteration(batch)
    assert len(batch['inputs']) == 4
    replay.buffer.stored = []
    replay.before_iteration(batch)
    assert len(batch['inputs']) == 4


def test_processes_judge_their_shares(runner, monkeypatch):
    """Of five images drawn four can be shared by two processes; the scores come back in the order of the draw."""
    drawn = RandomState(5).choice(range(6), 5, replace=False).tolist()[:4]
    rising = dict(zip(drawn, (.1, .4, .2, .3)))
    for rank in range(2):
        act_as(monkeypatch, rank, 2)
        replay, judged, taken = started(InterferedReplay, runner, images=1, candidates=5), [], []
        monkeypatch.setattr(replay, 'load', lambda images: judged.append(images) or images)
        monkeypatch.setattr(replay, 'add', lambda batch, images: taken.extend(images))
        monkeypatch.setattr(replay, '_losses', lambda images: torch.zeros(len(images)))
        monkeypatch.setattr(replay.training, 'gradients', lambda _: {})
        monkeypatch.setattr(interfered, 'all_gather', lambda own: [
            torch.tensor([rising[i] for i in drawn[other::2]]) for other in range(2)])
        replay.before_iteration({})
        assert judged == [drawn[rank::2]] and taken == [[drawn[1], drawn[3]][rank]]


def test_several_optimizers():
    with pytest.raises(ValueError, match='got several optimizers, but this method needs a single one'):
        InterferedReplay().begin(Training(torch.nn.Module(), {}), None, None)


def test_tensors_are_kept_also_where_something_fails():
    tensors = [torch.randn(3), torch.nn.Parameter(torch.randn(2))]
    before = [tensor.detach().clone() for tensor in tensors]
    with pytest.raises(KeyError), preserved_tensors(tensors), torch.no_grad():
        for tensor in tensors:
            tensor.add_(1)
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(tensors, before))
