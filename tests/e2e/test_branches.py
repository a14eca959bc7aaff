"""A plug-in with a second convolution and norm beside those of the backbone's last stage (as RCIL), which fold into them."""
import copy

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.apis import init_model
from mmseg.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader

from mmcss.datasets import StepDataset
from mmcss.models import Method
from mmcss.models.growing import GrowingModule
from mmcss.parts import Part
from mmcss.session import StepSession
from tests.e2e.running import assert_equal_states, run, state
from tests.models.makers import images
from tests.session.test_step_session import SCENARIO, network
from tests.tiny import loader, tiny_config

PLACES = [f'backbone.layer4.{block}.conv{number}' for block in range(2) for number in (1, 2)]
ENTRIES = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
SEEN = {}


def norm_of(place):
    return place.replace('conv', 'bn')


class Twins(GrowingModule):
    """The mean of two convolutions with their norms; the first ones are the model's."""

    def __init__(self, conv, norm, still):
        super().__init__()
        self.conv, self.norm, self.still = conv, norm, still
        self.twin, self.twin_norm = copy.deepcopy(conv), copy.deepcopy(norm)
        for module in (conv, norm):
            module.requires_grad_(not still)

    def train(self, mode=True):
        super().train(mode)
        self.norm.train(mode and not self.still)
        return self

    def forward(self, x):
        return (self.norm(self.conv(x)) + self.twin_norm(self.twin(x))) / 2

    def folded(self, state, prefix):
        place, state, kernel, bias = prefix[:-1], dict(state), 0, 0
        for conv, norm, module in (('conv', 'norm', self.norm), ('twin', 'twin_norm', self.twin_norm)):
            own = {entry: state.pop(f'{prefix}{norm}.{entry}') for entry in ENTRIES}
            scale = own['weight'] / (2 * (own['running_var'] + module.eps).sqrt())
            kernel = kernel + scale[:, None, None, None] * state.pop(f'{prefix}{conv}.weight')
            bias = bias + own['bias'] / 2 - scale * own['running_mean']
        values = (torch.full_like(bias, (1 + module.eps)**.5), bias, 0 * bias, torch.ones_like(bias), own['num_batches_tracked'])
        return {**state, f'{place}.weight': kernel, **{f'{norm_of(place)}.{entry}': value for entry, value in zip(ENTRIES, values)}}

    def unfolded(self, state, prefix):
        place, state = prefix[:-1], dict(state)
        kernel, values = state.pop(f'{place}.weight'), {entry: state.pop(f'{norm_of(place)}.{entry}') for entry in ENTRIES}
        for conv, norm in (('conv', 'norm'), ('twin', 'twin_norm')):
            state[f'{prefix}{conv}.weight'] = kernel
            state.update({f'{prefix}{norm}.{entry}': value for entry, value in values.items()})
        return state


@MODELS.register_module()
class Branches(Part):
    """Puts twins beside the last stage's convolutions."""

    from_first_step = True

    def modules(self, student):
        twins = {place: Twins(student.get_submodule(place), student.get_submodule(norm_of(place)), student.split.step > 0)
                 for place in PLACES}
        return {**twins, **{norm_of(place): nn.Identity() for place in PLACES}}

    def attach(self, student, old):
        SEEN[student.split.step] = [predicted(student)]

    def after_step(self, split, batches):
        SEEN[split.step] += [predicted(batches.model), {name: value.clone() for name, value in batches.model.state_dict().items()}]


@torch.no_grad()
def predicted(model):
    training = model.training
    found = model.eval()._forward(images())
    model.train(training)
    return found


@pytest.mark.slow
@pytest.mark.parametrize('averaged', [False, True])
def test_what_is_handed_over_is_stock(tiny_data, tmp_path, averaged):
    hooks = [dict(type='EMAHook', momentum=.5)] if averaged else []
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1), custom_hooks=hooks, continual=dict(
        losses=dict(branches=dict(type='Branches'), kd=dict(type='KnowledgeDistillation'))))
    results = run(cfg)
    for step in range(2):
        folder = tmp_path / f'step_{step}'
        model = init_model(str(folder / 'deploy.py'), str(folder / f'step_{step}.pth'), device='cpu')
        assert type(model).__module__.startswith('mmseg.') and model.state_dict().keys() == state(tmp_path, step).keys()
        torch.testing.assert_close(predicted(model), SEEN[step][1], rtol=1e-5, atol=1e-5)
        if step == 0:  # the next step's student starts as this model, and so does its teacher
            torch.testing.assert_close(SEEN[1][0][:, :4], predicted(model), rtol=1e-5, atol=1e-5)
    still, learned = (SEEN[1][2][f'{PLACES[0]}.{name}.weight'] for name in ('conv', 'twin'))
    assert torch.equal(still, state(tmp_path, 0)[f'{PLACES[0]}.weight']) and not torch.equal(still, learned)
    (tmp_path / 'step_1' / 'result.json').unlink()
    cfg.resume = True
    assert run(cfg)['matrix'] == results['matrix']


@pytest.mark.slow
def test_a_step_without_branches_may_come_first(tiny_data, tmp_path):
    branches = dict(continual=dict(losses=dict(branches=dict(type='Branches'))))
    run(tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1), continual={}, next_steps=branches))
    first = init_model(str(tmp_path / 'step_0' / 'deploy.py'), str(tmp_path / 'step_0' / 'step_0.pth'), device='cpu')
    torch.testing.assert_close(SEEN[1][0][:, :4], predicted(first), rtol=1e-5, atol=1e-5)
    assert state(tmp_path, 0).keys() == state(tmp_path, 1).keys()


def test_in_a_loop_of_ones_own(tiny_data, tmp_path):
    """The stock model is that which was trained, and steps go on from it."""
    sessions = []
    for step in range(2):
        batches = DataLoader(StepDataset(loader(tiny_data, 'train')['dataset'], SCENARIO[step]), 4, collate_fn=pseudo_collate)
        session = StepSession(network(3 + step), Method(SCENARIO[step], losses=dict(branches=Branches())), sessions[-1] if step else None)
        model, names = session.model, list(session.model.state_dict())
        before = predicted(sessions[-1].model if step else model)
        session.begin(batches, torch.optim.SGD(model.parameters(), lr=.1))
        torch.testing.assert_close(SEEN[step][0][:, :3], before[:, :3], rtol=1e-5, atol=1e-5)
        for data, _ in zip(batches, range(2)):
            session.step(data)
        session.end(tmp_path / f'step_{step}.pth')
        assert list(model.state_dict()) == names and type(model.backbone.layer4[0].conv1) is nn.Conv2d
        torch.testing.assert_close(predicted(model.eval()), SEEN[step][1], rtol=1e-5, atol=1e-5)
        sessions.append(session)
    assert_equal_states(torch.load(tmp_path / 'step_1.pth', weights_only=True)['state_dict'], dict(session.model.state_dict()))
