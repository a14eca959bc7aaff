from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmcss.hooks import before_updates as module
from mmcss.hooks.before_updates import before_updates, one_optimizer


def runner_of(**options):
    weight = torch.nn.Parameter(torch.ones(1))
    return weight, SimpleNamespace(optim_wrapper=OptimWrapper(torch.optim.SGD([weight], lr=1.), **options))


def test_gradients_are_whole_and_the_change_counts():
    """Two batches accumulate to an update, of a mean gradient of 4."""
    weight, runner = runner_of(accumulative_counts=2)
    seen = []

    def act():
        seen.append(weight.grad.item())
        weight.grad *= 2

    handle = before_updates(runner, act)
    for number in (3., 5.):
        runner.optim_wrapper.update_params((number * weight).sum())
    assert seen == [4.] and weight.item() == 1 - 8
    handle.remove()
    for number in (1., 1.):
        runner.optim_wrapper.update_params((number * weight).sum())
    assert seen == [4.] and weight.item() == -8


def test_several_optimizers():
    runner = SimpleNamespace(optim_wrapper={})
    for refusing in (one_optimizer, lambda runner: before_updates(runner, print)):
        with pytest.raises(ValueError, match='looks at the updates of one optimizer, and this optim_wrapper has several'):
            refusing(runner)


@pytest.mark.parametrize('mixed, fused', [(True, True), (True, False), (False, True)])
def test_a_fused_optimizer_under_mixed_precision(monkeypatch, mixed, fused):
    """Its gradients are without the factor of mixed precision only inside of the kernel."""
    _, runner = runner_of()
    runner.optim_wrapper.optimizer._step_supports_amp_scaling = fused
    monkeypatch.setattr(module, 'AmpOptimWrapper', OptimWrapper if mixed else AmpOptimWrapper)
    if mixed and fused:
        with pytest.raises(ValueError, match='Leave fused=True out of optim_wrapper.optimizer'):
            before_updates(runner, print)
    else:
        before_updates(runner, print).remove()
