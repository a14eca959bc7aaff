import pytest
import torch

from mmcss.losses.importance import (add_path_, add_penalty_gradient_, add_segment_score_, normalise,
                                     path_importance, penalty, update_fisher_)

SHAPES = ((3, 4), (5, ), (2, 1, 3, 3))


def random(seed, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def entries(*lists):
    """The numbers of several lists of tensors, side by side."""
    return zip(*(torch.cat([tensor.flatten() for tensor in tensors]).tolist() for tensors in lists))


def test_fisher_information():
    fisher, gradients = [x.abs() for x in random(0)], random(1)
    expected = [.7 * g * g + .3 * f for f, g in entries(fisher, gradients)]
    update_fisher_(fisher, gradients, alpha=.7)
    assert [f for f, in entries(fisher)] == pytest.approx(expected, rel=1e-5)


def test_a_path():
    path, gradients, before, after = (random(seed) for seed in range(4))
    expected = [p + g * (b - a) for p, g, b, a in entries(path, gradients, before, after)]
    add_path_(path, gradients, before, after)
    assert [p for p, in entries(path)] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_score_of_a_segment():
    score, path, before, after, fisher = (random(seed) for seed in range(5))
    fisher = [x.abs() for x in fisher]
    expected = [s + p / (.5 * f * (a - b)**2 + .01) for s, p, b, a, f in entries(score, path, before, after, fisher)]
    add_segment_score_(score, path, before, after, fisher, damping=.01)
    assert [s for s, in entries(score)] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_importance_of_a_path():
    """The loss saved for the square of the way; what made it worse has none, what stood still neither."""
    path, before, after = torch.tensor([.02, -.1, 0., .02]), torch.zeros(4), torch.tensor([.2, .1, 0., -1e-4])
    assert path_importance(path, before, after, damping=.01).tolist() == pytest.approx([.4, 0., 0., 2.], rel=1e-4)
    released = path_importance(path, before, after, damping=1e-20)
    assert released[:3].tolist() == pytest.approx([.5, 0., 0.], rel=1e-5) and released[3] > 1e6


def test_normalised_importance():
    assert normalise(torch.tensor([[2., 4.], [3., 6.]])).tolist() == [[0., .5], [.25, 1.]]
    assert not normalise(torch.full((3, ), 7.)).any()
    assert normalise(torch.tensor([0., 1e-8])).tolist() == pytest.approx([0., .5])  # small ones are not blown up


def test_penalty_and_its_gradient_against_autograd():
    weights, old, importance, gradients = (random(seed) for seed in range(4))
    importance = [x.abs() for x in importance]
    expected = sum(i * (w - o)**2 for w, o, i in entries(weights, old, importance))
    assert penalty(weights, old, importance).item() == pytest.approx(expected, rel=1e-5)
    leaves = [w.clone().requires_grad_() for w in weights]
    loss = sum((i * (w - o)**2).sum() for w, o, i in zip(leaves, old, importance))
    (3.5 * loss).backward()
    before = [g.clone() for g in gradients]
    add_penalty_gradient_(gradients, leaves, old, importance, 3.5)
    for leaf, start, found in zip(leaves, before, gradients):
        torch.testing.assert_close(found - start, leaf.grad, rtol=1e-4, atol=1e-5)


def test_no_graph_is_kept():
    leaves = [torch.ones(2, requires_grad=True)]
    value = penalty(leaves, [torch.zeros(2)], [torch.ones(2)])
    assert value.item() == 2 and not value.requires_grad
