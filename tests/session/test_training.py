
import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmcss.memory.evidence import LastBatch
from mmcss.session import Training
from mmcss.session import training as module
from tests.memory.replay.streams import batch_of, gradients_by_hand, runner, stream_dir, update  # noqa: F401  fixtures too


def updates_of(**options):
    """A weight of 1, what updates it at a rate of 1, and its training."""
    weight = torch.nn.Parameter(torch.ones(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.), **options)
    return weight, wrapper, Training(torch.nn.Module(), wrapper)


def test_gradients_are_whole_and_the_change_counts():
    """Two batches accumulate to an update, of a mean gradient of 4."""
    weight, wrapper, training = updates_of(accumulative_counts=2)
    seen = []

    def act():
        seen.append(weight.grad.item())
        weight.grad *= 2

    handle = training.before_updates(act)
    for number in (3., 5.):
        wrapper.update_params((number * weight).sum())
    assert seen == [4.] and weight.item() == 1 - 8
    handle.remove()
    for number in (1., 1.):
        wrapper.update_params((number * weight).sum())
    assert seen == [4.] and weight.item() == -8


def test_several_optimizers():
    training = Training(torch.nn.Module(), {})
    for refusing in (lambda: training.optimizer, lambda: training.before_updates(print)):
        with pytest.raises(ValueError, match='got several optimizers, but this method needs a single one'):
            refusing()


@pytest.mark.parametrize('mixed, fused', [(True, True), (True, False), (False, True)])
def test_a_fused_optimizer_under_mixed_precision(monkeypatch, mixed, fused):
    """Its gradients are without the factor of mixed precision only inside of the kernel."""
    _, wrapper, training = updates_of()
    wrapper.optimizer._step_supports_amp_scaling = fused
    monkeypatch.setattr(module, 'AmpOptimWrapper', OptimWrapper if mixed else AmpOptimWrapper)
    if mixed and fused:
        with pytest.raises(ValueError, match='got a fused optimizer .* Leave fused=True out of it'):
            training.before_updates(print)
    else:
        training.before_updates(print).remove()


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_it_has_the_precision_of_its_updates(monkeypatch, dtype):
    monkeypatch.setattr(AmpOptimWrapper, '__init__', lambda self: setattr(self, 'cast_dtype', dtype))
    wrapper = updates_of()[1] if dtype is None else AmpOptimWrapper()
    with Training(torch.nn.Module(), wrapper).precision():
        assert torch.is_autocast_enabled('cpu') == (dtype is not None)
        assert dtype is None or torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == dtype
    assert not torch.is_autocast_enabled('cpu')


def test_gradients_of_a_batch(runner):  # noqa: F811
    """Those of the training stay as they are, and no part observes the batch."""
    last = LastBatch(confidence=True, features=False)
    runner.model.method.add('memory', last)
    update(runner)
    seen, before = last.confidence.clone(), {}
    for name, parameter in runner.model.named_parameters():
        before[name] = parameter.grad = None if 'layer1' in name else torch.randn_like(parameter)
    batch = batch_of(runner)
    length = len(batch['inputs']), batch['inputs'][0].clone()
    torch.manual_seed(3)
    expected, _ = gradients_by_hand(runner, batch)
    torch.manual_seed(3)
    found = Training(runner.model, runner.optim_wrapper).gradients(batch)
    for name, parameter in runner.model.named_parameters():
        assert torch.equal(found[parameter], expected[name]) and parameter.grad is before[name]
    assert torch.equal(last.confidence, seen)
    assert (len(batch['inputs']), batch['data_samples'][0].get('batch_input_shape')) == (length[0], None)
    assert torch.equal(batch['inputs'][0], length[1])
    update(runner, (1, 2))
    assert not torch.equal(last.confidence, seen)
