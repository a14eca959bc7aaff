"""The parts EWC, PI and RW on small models; the authors' numbers stand in tests/parity/test_golden_importance.py."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import nn

from mmcss.losses.ewc import ElasticWeightConsolidation
from mmcss.losses.importance import normalise, path_importance
from mmcss.losses.path_integral import PathIntegral
from mmcss.losses.riemannian_walk import RiemannianWalk
from mmcss.models.growth import ClassAxes, Widening
from mmcss.scenario import Split

FIRST = Split(0, (), ('background', 'a'), (), ('background', 'a'), 'background')
PARTS = [ElasticWeightConsolidation, PathIntegral, RiemannianWalk]
LR = .1


class Model(nn.Module):
    """Two layers, of which the last has a row for each class, and a parameter that no loss reaches."""

    def __init__(self, classes=2, reserved=0, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Linear(3, 4)
        self.head = nn.Linear(4, classes)
        self.unused = nn.Parameter(torch.ones(2))
        self.reserved_rows = reserved

    def widening(self, old):
        rows, before = self.head.bias.shape[0], old['head.bias'].shape[0]
        axes = ClassAxes({'head.weight': 0, 'head.bias': 0} if rows != before else {}, {})
        return Widening(axes, before - self.reserved_rows, rows - before, self.reserved_rows)

    def forward(self, x):
        return self.head(self.body(x).tanh())


def batches(classes, number=5, seed=0, size=8):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(size, 3, generator=generator), torch.randint(classes, (size, ), generator=generator))
            for _ in range(number)]


def train(part, model, data, record=None, momentum=0.):
    """Updates with the part in front of each; ``record`` gets weights and gradients of each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum)
    handle = optimizer.register_step_pre_hook(lambda *_: part.before_update())
    for x, y in data:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        if record is not None:
            record.append({name: (p.detach().clone(), p.grad.clone()) for name, p in model.named_parameters()
                           if p.grad is not None})
        optimizer.step()
    handle.remove()
    return model


def first_step(make, **options):
    """State that a part leaves after step 0, the weights then, and what was recorded."""
    part, model, record = make(**options), Model(), []
    part.attach(model, {})
    assert part.loss(None) is None  # nothing is penalised yet
    train(part, model, batches(2), record)
    part.after_step(FIRST, ())
    return {key: value.clone() for key, value in part.state_dict().items()}, copy.deepcopy(model.state_dict()), record


def second_step(make, classes=3, reserved=0, prepare=None, **options):
    """A part and a model at the start of step 1, whose weights are others than those of step 0."""
    state, old, _ = first_step(make)
    part, model = make(**options), Model(classes, reserved, seed=1)
    if prepare:
        prepare(model)
    part.attach(model, old)
    part.load_previous(state)
    return part, model, state, old


def test_running_fisher_information():
    state, _, record = first_step(ElasticWeightConsolidation, alpha=.8)
    expected = torch.zeros(4, 3)
    for update in record:
        expected = .8 * update['body.weight'][1]**2 + .2 * expected
    torch.testing.assert_close(state['fisher/body.weight'], expected)
    assert set(state) == {f'fisher/{name}' for name, _ in Model().named_parameters()}


def test_where_fisher_information_starts():
    """With the authors' 1 what no gradient reaches stays at 1, else at 0; what is trained forgets it."""
    zero, one = (first_step(ElasticWeightConsolidation, start=start)[0] for start in (0., 1.))
    assert not zero['fisher/unused'].any() and (one['fisher/unused'] == 1).all()
    torch.testing.assert_close(one['fisher/head.bias'], zero['fisher/head.bias'] + .1**5, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize('start', [0., 1.])
def test_new_rows_start_there_too(start):
    """Old ones go on with what they had."""
    part, model, state, _ = second_step(ElasticWeightConsolidation, classes=4, start=start, alpha=.5)
    record = []
    train(part, model, batches(4, number=1), record)
    part.after_step(FIRST, ())
    squares, found = record[0]['head.bias'][1]**2, part.state_dict()['fisher/head.bias']
    torch.testing.assert_close(found[2:], .5 * squares[2:] + .5 * start)
    torch.testing.assert_close(found[:2], .5 * squares[:2] + .5 * state['fisher/head.bias'])


def saved(record, name, gradient):
    """What the moves of one parameter took off the loss, one update after another."""
    total = 0
    updates = [update[name] for update in record]
    for (before, made), (after, found) in zip(updates[:-1], updates[1:]):
        total = total + (before - after) * (made if gradient == 'previous' else found)
    return total


@pytest.mark.parametrize('gradient', ['previous', 'current'])
def test_path_integral(gradient):
    """The gradient that made the move, or the one after it; only the former knows what the last move did."""
    state, end, record = first_step(PathIntegral, gradient=gradient, damping=.01)
    for name in ('body.weight', 'head.bias'):
        path = saved(record, name, gradient)
        if gradient == 'previous':
            before, made = record[-1][name]
            path = path + (before - end[name]) * made
            assert (path > 0).all()  # plain descent: all moves go down
        torch.testing.assert_close(state[f'score/{name}'], path_importance(path, record[0][name][0], end[name], .01))
    assert not state['score/unused'].any() and {key.split('/')[0] for key in state} == {'score'}


def test_damping_of_the_path_integral():
    paper, code = (first_step(PathIntegral, damping=damping)[0]['score/head.bias'] for damping in (1e-3, 1e-20))
    assert (code > paper).all()


@pytest.mark.parametrize('gradient', ['previous', 'current'])
@pytest.mark.parametrize('interval', [1, 2, 10])
def test_riemannian_walk(gradient, interval):
    """Segments of some updates; the released code multiplies the way of one with the gradient at its end."""
    state, end, record = first_step(RiemannianWalk, gradient=gradient, interval=interval, damping=1e-4)
    name = 'head.weight'
    fisher, score, path, begun = 0., 0., 0., record[0][name][0]
    updates = [update[name] for update in record]
    for k, (weights, found) in enumerate(updates):
        if gradient == 'previous' and k:
            path = path + (updates[k - 1][0] - weights) * updates[k - 1][1]
        if k % interval == 0:
            if gradient == 'current':
                path = (begun - weights) * found
            score = score + path / (.5 * fisher * (weights - begun)**2 + 1e-4)
            begun, path = weights, 0.
        fisher = .9 * found**2 + .1 * fisher
    if gradient == 'previous':
        path = path + (updates[-1][0] - end[name]) * updates[-1][1]
        score = score + path / (.5 * fisher * (end[name] - begun)**2 + 1e-4)
    torch.testing.assert_close(state[f'fisher/{name}'], fisher)
    torch.testing.assert_close(state[f'score/{name}'], torch.as_tensor(score).clamp(min=0).expand(2, 4))
    assert state[f'score/{name}'].any() == (gradient == 'previous' or interval < 10)


@pytest.mark.parametrize('make', PARTS)
def test_the_gradient_has_the_penalty_s_added_and_importance_has_not(make):
    part, model, state, old = second_step(make, classes=2, loss_weight=7.)
    record = []
    train(part, model, batches(2, number=1, seed=3), record)
    kinds = dict(fisher=1, score=1) if make is RiemannianWalk else {part.handed_on[0]: 1}
    # Not the head's bias: of two classes both have the same importance, and scaling would bring out its last digit.
    for name in ('body.weight', 'head.weight'):
        importance = sum(normalise(state[f'{kind}/{name}']) for kind in kinds)
        weights, gradient = record[0][name]
        leaf = weights.clone().requires_grad_()
        (7 * (importance * (leaf - old[name])**2).sum()).backward()
        used = dict(model.named_parameters())[name].grad
        torch.testing.assert_close(used, gradient + leaf.grad)
        assert leaf.grad.any()
        if make is not PathIntegral:
            running = .9 * gradient**2 + .1 * state[f'fisher/{name}']
            torch.testing.assert_close(part.state_dict()[f'fisher/{name}'], running)


@pytest.mark.parametrize('make', PARTS)
def test_the_penalty_in_the_log(make):
    """A number without gradient; scaled or not."""
    values = []
    for switch in (True, False):
        part, model, state, old = second_step(make, loss_weight=3., normalise=switch)
        expected = 0.
        for name, parameter in model.named_parameters():
            rows = len(old[name])
            scale = normalise if switch else (lambda x: x)
            importance = sum(scale(state[f'{kind}/{name}']) for kind in part.handed_on)
            expected += 3 * (importance * (parameter[:rows] - old[name])**2).sum().item()
        loss = part.loss(None)
        assert loss.item() == pytest.approx(expected, rel=1e-4) and not loss.requires_grad
        values.append(loss.item())
    assert values[0] != pytest.approx(values[1], rel=.1)


@pytest.mark.parametrize('make', PARTS)
@pytest.mark.parametrize('reserved', [0, 1])
def test_rows_that_are_new_are_free(make, reserved):
    """With an unknown class the last row goes with the last row of before."""
    part, model, state, old = second_step(make, classes=4, reserved=reserved)
    record = []
    train(part, model, batches(4, number=1), record)
    added = model.head.weight.grad - record[0]['head.weight'][1]
    new = slice(1, 3) if reserved else slice(2, 4)
    assert not added[new].any() and added[0].any() and added[3].any() == bool(reserved)
    weights, importance = record[0]['head.weight'][0], sum(normalise(state[f'{k}/head.weight']) for k in part.handed_on)
    torch.testing.assert_close(added[3 if reserved else 1],
                               (200 * importance * (weights[[0, 3 if reserved else 1]] - old['head.weight']))[1])
    part.after_step(FIRST, ())
    assert all(part.state_dict()[f'{kind}/head.weight'].shape == (4, 4) for kind in part.handed_on)


@pytest.mark.parametrize('make', PARTS)
def test_a_parameter_that_the_step_before_did_not_have_is_free(make):
    part, model, state, old = second_step(make)
    grown = nn.Sequential()
    grown.add_module('body', model.body)
    grown.add_module('extra', nn.Linear(4, 3))
    grown.widening = model.widening
    part.attach(grown, old)
    part.load_previous(state)
    x, y = batches(3)[0]
    F.cross_entropy(grown(x), y).backward()
    before = {name: p.grad.clone() for name, p in grown.named_parameters()}
    part.before_update()
    assert {name: torch.equal(p.grad, before[name]) for name, p in grown.named_parameters()} == {
        'body.weight': False, 'body.bias': False, 'extra.weight': True, 'extra.bias': True}


@pytest.mark.parametrize('make', PARTS)
def test_what_is_frozen_is_left_alone(make):
    part, model, state, _ = second_step(make, prepare=lambda model: model.body.requires_grad_(False))
    free, _, _, _ = second_step(make)
    assert 0 < part.loss(None) < free.loss(None)  # a constant would only tell of what can't change
    train(part, model, batches(3))
    assert model.body.weight.grad is None and model.unused.grad is None
    part.after_step(FIRST, ())
    for kind in part.handed_on:
        kept = state[f'{kind}/body.weight']
        if (make, kind) == (RiemannianWalk, 'score'):
            kept = kept / 2  # averaged with the 0 of this step
        torch.testing.assert_close(part.state_dict()[f'{kind}/body.weight'], kept)


def test_scores_over_steps():
    """PI adds them up, RW takes the mean, but for rows that are new."""
    for make in (PathIntegral, RiemannianWalk):
        part, model, state, before = second_step(make, loss_weight=0.)
        train(part, model, batches(3))
        alone, other = make(loss_weight=0.), Model(3, seed=1)
        if make is RiemannianWalk:  # with the same Fisher information to start from
            alone.attach(other, before)
            alone.load_previous({key: value if key.startswith('fisher') else torch.zeros_like(value)
                                 for key, value in state.items()})
        else:
            alone.attach(other, {})
        train(alone, other, batches(3))
        for each in (part, alone):
            each.after_step(FIRST, ())
        both, new = part.state_dict()['score/head.weight'], alone.state_dict()['score/head.weight']
        old = state['score/head.weight']
        if make is PathIntegral:
            torch.testing.assert_close(both[:2], old + new[:2])
        else:  # ``new`` is the mean with 0
            torch.testing.assert_close(both[:2], old / 2 + new[:2])
        torch.testing.assert_close(both[2], new[2])
        assert new.any() and old.any()


@pytest.mark.parametrize('make', PARTS)
def test_accumulated_gradients_are_those_of_one_larger_batch(make):
    states = []
    for accumulative in (1, 2):
        part, model = make(), Model()
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        wrapper = OptimWrapper(optimizer, accumulative_counts=accumulative)
        wrapper.initialize_count_status(model, 0, 8 * accumulative)
        optimizer.register_step_pre_hook(lambda *_: part.before_update())
        part.attach(model, {})
        for x, y in batches(2, number=8):
            for share in (slice(0, 4), slice(4, 8)) if accumulative == 2 else (slice(0, 8), ):
                wrapper.update_params(F.cross_entropy(model(x[share]), y[share]))
        part.after_step(FIRST, ())
        states.append(part.state_dict())
    for key in states[0]:
        torch.testing.assert_close(states[0][key], states[1][key], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('make', PARTS)
@pytest.mark.parametrize('options', [dict(), dict(gradient='current')])
def test_a_resumed_step_equals_the_whole_one(make, options):
    if make is ElasticWeightConsolidation and options:
        return
    ends = []
    for stop in (None, 3):
        part, model, state, old = second_step(make, **options)
        data = batches(3, number=7)
        if stop is not None:
            train(part, model, data[:stop])
            kept = {key: value.clone() for key, value in part.state_dict().items()}
            part = make(**options)
            part.attach(model, old)  # as it was stopped
            part.load_previous(state)
            part.load_state_dict(kept)
        train(part, model, data[stop or 0:])
        part.after_step(FIRST, ())
        ends.append(dict(part.state_dict(), **model.state_dict()))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


@pytest.mark.parametrize('make', PARTS)
def test_before_the_first_update_there_is_nothing_to_keep(make):
    part = make()
    part.attach(Model(), {})
    assert part.state_dict() == {}
    part.load_state_dict({})
    with pytest.raises(ValueError, match='but step 0 had no update. Train it with this part'):
        part.after_step(FIRST, ())
    with pytest.raises(ValueError, match='step 0 had no update'):
        make().after_step(FIRST, ())


@pytest.mark.parametrize('make', PARTS)
def test_a_step_that_is_finished_twice_is_finished_once(make):
    part, model = make(), Model()
    part.attach(model, {})
    train(part, model, batches(2))
    part.after_step(FIRST, ())
    first = {key: value.clone() for key, value in part.state_dict().items()}
    part.after_step(FIRST, ())
    assert all(torch.equal(first[key], value) for key, value in part.state_dict().items())
