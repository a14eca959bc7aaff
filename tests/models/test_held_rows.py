import pytest
import torch
from torch import nn

from mmcss.models.freezing import hold_rows

RATES = torch.tensor([1., 0, 0, .1, 2.5]).view(5, 1)
OPTIMIZERS = {
    'SGD': (torch.optim.SGD, dict(lr=.1, momentum=.9, weight_decay=.05, nesterov=True)),
    'AdamW': (torch.optim.AdamW, dict(lr=.02, weight_decay=.1)),
    'Adam': (torch.optim.Adam, dict(lr=.02, weight_decay=.1, amsgrad=True)),
}


def weights(seed=0):
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))


def loss_of(weight):
    """Something of which no row rests, and no row knows of another."""
    return (weight.sin() + weight**2 / 3).sum()


@pytest.mark.parametrize('kind', OPTIMIZERS)
def test_rates_of_rows_are_those_of_parameter_groups(kind):
    """Over several updates, with momentum and weight decay; in float64, as Adam divides by roots that may be near 0."""
    make, settings = OPTIMIZERS[kind]
    start = weights().double()
    whole, rows = nn.Parameter(start.clone()), [nn.Parameter(row.clone()) for row in start]
    groups = [dict(params=[row], lr=settings['lr'] * rate) for row, rate in zip(rows, RATES.flatten().tolist())]
    optimizers = [make([whole], **settings), make(groups, **settings)]
    hold_rows(optimizers[0], nn.ParameterDict(dict(one=whole)), dict(one=RATES))
    for _ in range(5):
        for optimizer, loss in zip(optimizers, (loss_of(whole), sum(loss_of(row) for row in rows))):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(whole.detach(), torch.stack([row.detach() for row in rows]), rtol=1e-6, atol=1e-6)
    assert torch.equal(whole[1:3], start[1:3])
    assert not torch.isclose(whole[[0, 3, 4]], start[[0, 3, 4]]).any()


def test_rows_of_rate_one_are_those_of_an_optimizer_without_rates():
    """Bit by bit."""
    make, settings = OPTIMIZERS['SGD']
    held, free = nn.Parameter(weights()), nn.Parameter(weights())
    optimizers = [make([one], **settings) for one in (held, free)]
    hold_rows(optimizers[0], nn.ParameterDict(dict(one=held)), dict(one=RATES))
    for _ in range(5):
        for optimizer, parameter in zip(optimizers, (held, free)):
            optimizer.zero_grad()
            loss_of(parameter).backward()
            optimizer.step()
    assert torch.equal(held[0], free[0]) and not torch.equal(held[3], free[3])


def test_gradients_of_rows_of_rate_zero_are_zero():
    """Clipping by norm, which looks at them, then measures what moves; those of other rates are whole."""
    parameter = nn.Parameter(weights())
    hold_rows(torch.optim.SGD([parameter], lr=.1), nn.ParameterDict(dict(one=parameter)), dict(one=RATES))
    loss_of(parameter).backward()
    expected = weights().cos() + 2 * weights() / 3
    torch.testing.assert_close(parameter.grad, expected * (RATES != 0))


def test_handles_end_it():
    parameter = nn.Parameter(weights())
    optimizer = torch.optim.SGD([parameter], lr=.1)
    for handle in hold_rows(optimizer, nn.ParameterDict(dict(one=parameter)), dict(one=RATES)):
        handle.remove()
    loss_of(parameter).backward()
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), weights() - .1 * (weights().cos() + 2 * weights() / 3))
