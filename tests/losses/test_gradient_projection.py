import numpy as np
import pytest
import torch
from torch import nn

from mmcss.losses.gradient_projection import project


def gradients_of(seed, flip=1.):
    """Gradients of a two-layer net's loss on a random batch, by autograd."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    torch.manual_seed(seed)
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    loss = flip * (net(x) - y).square().mean()
    return list(torch.autograd.grad(loss, list(net.parameters())))


def vector(tensors):
    return np.concatenate([tensor.double().numpy().ravel() for tensor in tensors])


@pytest.mark.parametrize('flip', [1., -1.])
def test_against_one_vector_in_numpy(flip):
    """Layers alone would be projected in another way: the inner product is that of all of them."""
    gradients, reference = gradients_of(1), gradients_of(2, flip)
    g, r = vector(gradients), vector(reference)
    expected = g if g @ r >= 0 else g - (g @ r) / (r @ r) * r
    assert (g @ r < 0) == (flip < 0)
    found = project(gradients, reference)
    assert [tensor.shape for tensor in found] == [tensor.shape for tensor in gradients]
    np.testing.assert_allclose(vector(found), expected, rtol=1e-5, atol=1e-6)
    if flip < 0:
        assert abs(vector(found) @ r) < 1e-5 < abs(g @ r)


def test_arguments_stay_as_they_are():
    gradients, reference = gradients_of(1), gradients_of(2, -1.)
    before = vector(gradients), vector(reference)
    assert not np.array_equal(vector(project(gradients, reference)), before[0])
    assert np.array_equal(vector(gradients), before[0]) and np.array_equal(vector(reference), before[1])


def test_one_conflict_among_layers_is_none_of_the_whole():
    gradients, reference = [torch.tensor([1., 0.]), torch.tensor([2.])], [torch.tensor([-1., 0.]), torch.tensor([1.])]
    assert all(torch.equal(a, b) for a, b in zip(project(gradients, reference), gradients))


def test_without_a_reference_nothing_changes():
    gradients = gradients_of(1)
    found = project(gradients, [torch.zeros_like(tensor) for tensor in gradients])
    assert all(torch.equal(a, b) for a, b in zip(found, gradients))
    assert project([], []) == []


def test_inner_products_in_full_precision():
    """In float16 the square of the reference's length would be infinite."""
    gradients, reference = [torch.full((4, ), -300.).half()], [torch.full((4, ), 300.).half()]
    found = project(gradients, reference)[0]
    assert found.dtype == torch.float16 and not found.any()


@pytest.mark.parametrize('value', [float('inf'), -float('inf'), float('nan')])
def test_a_reference_that_is_not_finite_changes_nothing(value):
    """An overflow in half precision would else put NaN into the weights."""
    gradients = [torch.tensor([1., 2.]), torch.tensor([[3.]])]
    found = project(gradients, [torch.tensor([value, -1.]), torch.tensor([[-1.]])])
    assert all(torch.equal(a, b) for a, b in zip(found, gradients))
