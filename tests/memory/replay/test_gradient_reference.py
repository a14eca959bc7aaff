"""A-GEM."""
import pytest
import torch
from numpy.random import RandomState

from mmcss.engine.isolation import tear_down
from mmcss.memory.replay import gradient_reference
from mmcss.memory.replay.gradient_reference import GradientReference
from mmcss.session import Training
from tests.memory.replay.streams import act_as, batch_of, build, started, update


def dot(gradients, others):
    return sum((a.double() * b.double()).sum().item() for a, b in zip(gradients, others))


@pytest.mark.parametrize('sign', [1., -1.])
def test_no_update_goes_against_the_reference(runner, monkeypatch, sign):
    """Where it would (the reference's loss turned round), only the part against it is taken out."""
    replay, seen = started(GradientReference, runner, images=2), []
    gradients_of = replay.training.gradients
    monkeypatch.setattr(replay.training, 'gradients', lambda *inputs: seen.append(
        ({p: p.grad.clone() for p in runner.model.parameters()}, {p: sign * g for p, g in gradients_of(*inputs).items()})) or
        seen[-1][1])
    # Among them the batch's own images, so that both gradients point alike.
    monkeypatch.setattr(replay, 'load', lambda images: batch_of(runner))
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
    gradients_of = replay.training.gradients
    monkeypatch.setattr(replay.training, 'gradients', lambda batch: seen.append(
        [sample.img_path.rsplit('/')[-1] for sample in batch['data_samples']]) or gradients_of(batch))
    batch = batch_of(runner)
    replay.before_iteration(batch)
    assert len(batch['inputs']) == 2
    runner.model.train_step(batch, runner.optim_wrapper)
    expected = RandomState(5).choice(range(6), 2, replace=False)
    assert seen == [[replay.buffer.candidates[i].exemplar.name for i in expected]]
    replay.end()
    update(runner)
    assert len(seen) == 1  # nothing of it is left


def test_an_empty_memory_bounds_nothing(runner, monkeypatch):
    replay = started(GradientReference, runner, images=2)
    replay.buffer.stored = []
    monkeypatch.setattr(replay.training, 'gradients', None)
    update(runner)
    replay.end()


@pytest.mark.parametrize('rank', range(3))
def test_each_process_takes_part_though_fewer_images_are_stored(runner, monkeypatch, rank):
    """One that stayed away would have the others wait for its gradients."""
    act_as(monkeypatch, rank, 3)
    replay, seen = started(GradientReference, runner, images=2), []
    replay.buffer.stored = [4, 1]
    monkeypatch.setattr(replay, 'load', lambda images: seen.append(images) or {})
    monkeypatch.setattr(replay.training, 'gradients', lambda _: {})
    monkeypatch.setattr(gradient_reference, 'project', lambda *_: [])
    replay.constrain()
    drawn = RandomState(5).choice([4, 1], 2, replace=False).tolist()
    assert seen == [[drawn[rank % 2]]]
    replay.end()


def test_accumulated_gradients_are_bounded_once_an_update(tiny_data, stream_dir, monkeypatch):
    wrapper = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=.05))
    runner = build(tiny_data, stream_dir, optim_wrapper=wrapper)
    replay, sizes = started(GradientReference, runner, images=2), []
    monkeypatch.setattr(replay.training, 'gradients', lambda _: sizes.append(1) or {})
    monkeypatch.setattr(gradient_reference, 'project', lambda *_: [])
    for expected in (0, 1, 1, 2):
        update(runner)
        assert len(sizes) == expected
    replay.end()
    tear_down(runner)


def test_several_optimizers():
    with pytest.raises(ValueError, match='got several optimizers, but this method needs a single one'):
        GradientReference().begin(Training(torch.nn.Module(), {}), None, None)
