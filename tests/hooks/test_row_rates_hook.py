import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmcss.engine import build_scenario, step_config
from mmcss.engine.isolation import tear_down
from mmcss.hooks import HandOverHook, RowRatesHook
from mmcss.models import load_hand_over
from tests.models.test_held_rows import RATES, loss_of
from tests.tiny import tiny_config

SSUL = dict(unknown=dict(of='background'), targets=dict(type='SigmoidPseudoLabels'), new_rows='unknown',
            loss_decode=dict(type='BinaryCrossEntropyLoss', classes='all'), frozen=['shared', 'old'])


def stub(model, optimizer, rates):
    model.row_rates = rates
    return SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(optimizer=optimizer))


def test_the_hook_finds_parameters_by_name_and_takes_rates_to_them():
    model = nn.ModuleDict(dict(a=nn.Linear(3, 5), b=nn.Linear(3, 5))).double()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=.1, weight_decay=.1)
    hook = RowRatesHook()
    runner = stub(model, optimizer, {'a.weight': RATES, 'a.bias': RATES.flatten()})

    def update():
        optimizer.zero_grad()
        sum(loss_of(parameter) for parameter in model.parameters()).backward()
        optimizer.step()

    hook.before_train(runner)
    update()
    after = model.state_dict()
    for name in before:
        stays = [torch.equal(a, b) for a, b in zip(after[name], before[name])]
        assert stays == ([False, True, True, False, False] if name.startswith('a.') else [False] * 5)
    hook.after_train(runner)
    update()
    assert not any(torch.equal(a, b) for a, b in zip(model.state_dict()['a.weight'], before['a.weight']))


def test_a_model_without_rates_is_left_alone():
    model = nn.Linear(3, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=.1)
    hook = RowRatesHook()
    runner = stub(model, optimizer, {})
    hook.before_train(runner)
    hook.after_train(runner)
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    assert not model.weight._backward_hooks


def build(tiny_data, work_dir, number, **changes):
    loop = dict(type='EpochBasedTrainLoop', max_epochs=1)
    cfg = tiny_config(tiny_data, work_dir, continual=SSUL, train_cfg=loop, **changes)
    with pytest.MonkeyPatch.context() as patch:
        # Runners write it three times, and yapf takes seconds to make it pretty.
        patch.setattr(Config, 'pretty_text', property(lambda self: repr(self)))
        return Runner.from_cfg(step_config(cfg, build_scenario(cfg), number))


def test_a_step_in_a_runner(tiny_data, tmp_path):
    """After an epoch with clipped gradients, what is frozen is what the step before has left; statistics too."""
    first = build(tiny_data, tmp_path, 0)
    first.model.init_weights()
    next(hook for hook in first.hooks if isinstance(hook, HandOverHook)).after_train(first)
    tear_down(first)
    old = load_hand_over(tmp_path / 'step_0' / 'step_0.pth')['state_dict']
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=.05, momentum=.9, weight_decay=.1),
                   clip_grad=dict(max_norm=1.))
    runner = build(tiny_data, tmp_path, 1, optim_wrapper=wrapper, next_steps={})
    runner.train()
    model = runner.model
    new = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    training = [name for name, module in model.named_modules() if isinstance(module, _NormBase) and module.training]
    weight, optimizer = model.decode_head.conv_seg.weight, runner.optim_wrapper.optimizer
    left = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks, weight._backward_hooks)
    tear_down(runner)
    for name, value in new.items():
        if not name.startswith('decode_head.conv_seg.'):
            assert torch.equal(value, old[name]), name
            continue
        assert torch.equal(value[1:3], old[name][1:3])
        assert not torch.equal(value[0], old[name][0]) and not torch.equal(value[4], old[name][3])  # unknown
        assert not torch.equal(value[3], old[name][3])  # the new class, which began as unknown
    assert training == [] and not any(left)
