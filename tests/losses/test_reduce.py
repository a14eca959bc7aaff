import pytest
import torch

from mmcss.losses import reduce
from mmcss.losses.reduce import LargestOverProcesses, averaged, by_count, mean_over_valid


def pretend(monkeypatch, *others):
    """Each exchange is with one other process, which has these."""
    others = iter(others)
    join = {'sum': torch.add, 'mean': lambda a, b: (a + b) / 2, 'max': torch.maximum}

    def all_reduce(data, op='sum'):
        data.copy_(join[op](data, torch.tensor(next(others)).view(data.shape)))

    monkeypatch.setattr(reduce, 'all_reduce', all_reduce)


def test_means_over_processes(monkeypatch):
    """One exchange for all values; each is a mean that moves with what this process has as if it were that."""
    pretend(monkeypatch, [2., 4., 8., 3.])
    sums = torch.tensor([[0., 2.], [4., 0.]])[:, :1].clone().requires_grad_()  # [2, 1]
    means, count, other = averaged(sums, torch.tensor(6), torch.tensor(True))
    assert (means.tolist(), count.item(), other.item()) == ([[1.], [4.]], 7, 2)
    (means * torch.tensor([[3.], [5.]])).sum().backward()
    assert sums.grad.tolist() == [[3.], [5.]]


def test_one_process_has_its_own():
    values = torch.tensor([1., 2.], requires_grad=True)
    found, = averaged(values)
    assert torch.equal(found, values)
    assert LargestOverProcesses.apply(values).tolist() == [1, 2]


def test_largest_over_processes(monkeypatch):
    """The holder of the maximum gets the gradients of both; equal ones share them."""
    values = torch.tensor([5., 1., 3.], requires_grad=True)
    pretend(monkeypatch, [2., 4., 3.], [0., 1., 1.], [10., 20., 30.])
    largest = LargestOverProcesses.apply(values)
    assert largest.tolist() == [5, 4, 3]
    (largest * torch.tensor([1., 2., 4.])).sum().backward()
    assert values.grad.tolist() == [11, 0, 17]


@pytest.mark.parametrize('total, count, expected', [(3., 2, 1.5), (3., .5, 6.), (0., 0, 0.)])
def test_sum_by_count(total, count, expected):
    assert by_count(torch.tensor(total), torch.tensor(count)).item() == expected


def test_no_valid_pixel_gives_no_loss():
    assert mean_over_valid(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)).item() == 0
