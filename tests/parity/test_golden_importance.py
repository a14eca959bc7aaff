"""EWC, PI and RW against the numbers of the authors' own functions (see data/README.md)."""
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import MODELS

from mmcss.losses.importance import normalise, penalty
from mmcss.models.growth import ClassAxes, Widening
from mmcss.scenario import Split
from tests.parity.test_golden import load

METHODS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'methods'
FIRST = Split(0, (), ('background', 'a'), (), ('background', 'a'), 'background')


def released(method, **changes):
    """The part of the official profile."""
    cfg = Config.fromfile(METHODS / f'{method}.py')
    config = dict(cfg.continual.losses[method], **cfg.official.continual.losses[method])
    return MODELS.build(dict(config, **changes))


def changes(method):
    return dict(interval=2) if method == 'rw' else {}


def trained(part, golden):
    """The linear model of the golden file, trained with the part in front of each update."""
    model = torch.nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.copy_(golden['w0'])
        model.bias.copy_(golden['b0'])
    optimizer = torch.optim.SGD(model.parameters(), lr=golden['lr'])
    optimizer.register_step_pre_hook(lambda *_: part.before_update())
    part.attach(model, {})
    for x, y in zip(golden['xs'], golden['ys']):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize('method, kind', [('ewc', 'fisher'), ('pi', 'score'), ('rw', 'fisher')])
def test_importance_and_penalty(method, kind):
    golden = load(f'{method}_importance')
    part = released(method, **changes(method))
    model = trained(part, golden)
    torch.testing.assert_close(model.weight.detach(), golden['w_old'], rtol=1e-5, atol=1e-6)
    part.after_step(FIRST, ())
    state = part.state_dict()
    pairs = [(f'{kind}/{name}', f'importance_{name}') for name in ('weight', 'bias')]
    if method == 'rw':
        pairs += [(f'score/{name}', f'score_{name}') for name in ('weight', 'bias')]
    for found, expected in pairs:
        torch.testing.assert_close(state[found], golden[expected], rtol=1e-3, atol=1e-6)

    # PI's penalty in the file is of the importance as it is, the others' are of the scaled one.
    options = dict(changes(method), normalise=method != 'pi')
    with torch.no_grad():
        model.weight.copy_(golden['w_new'])
        model.bias.copy_(golden['b_new'])
    old = dict(weight=golden['w_old'], bias=golden['b_old'])
    found = following(method, model, old, {key: golden[expected] for key, expected in pairs}, options)
    assert found == pytest.approx(100 * golden['penalty'], rel=1e-5)
    assert following(method, model, old, state, options) == pytest.approx(100 * golden['penalty'], rel=1e-3)
    other = following(method, model, old, state, dict(options, normalise=method == 'pi'))
    assert other != pytest.approx(100 * golden['penalty'], rel=.1)


def following(method, model, old, state, options):
    """Penalty of the step that follows."""
    part = released(method, loss_weight=100., **options)
    model.widening = lambda old: Widening(ClassAxes({}, {}), 3, 0)  # no classes are added
    part.attach(model, old)
    part.load_previous(state)
    return part.loss(None).item()


WEIGHTS = ([1., -1.], [.9, -1.2], [.8, -1.1], [.9, -1.])
GRADIENTS = ([.5, .2], [.4, -.3], [-.2, .1], [.1, .4])


@pytest.mark.parametrize('method, expected, value', [
    ('ewc', dict(fisher=[.014365, .145846]), .0899999932),
    ('pi', dict(score=[1., 0.]), .0399999996),
    ('rw', dict(score=[0., 21.14120209], fisher=[.014365, .145846]), .1799999931),
])
def test_one_parameter_of_two_values(method, expected, value):
    part = released(method, **changes(method))
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.tensor(WEIGHTS[0]))
    part.attach(model, {})
    for weights, gradient in zip(WEIGHTS, GRADIENTS):
        model.weight.data = torch.tensor(weights)
        model.weight.grad = torch.tensor(gradient)
        part.before_update()
    if method == 'pi':
        assert part.state_dict()['path/weight'].tolist() == pytest.approx([.01, -.11], rel=1e-5)
    part.after_step(FIRST, ())
    state = part.state_dict()
    assert {key: entries.tolist() for key, entries in state.items()} == {
        f'{kind}/weight': pytest.approx(numbers, rel=1e-5) for kind, numbers in expected.items()}
    importance = [sum(normalise(entries) for entries in state.values())]
    found = penalty([torch.tensor([1.1, -.7])], [torch.tensor(WEIGHTS[-1])], importance)
    assert found.item() == pytest.approx(value, rel=1e-6)
