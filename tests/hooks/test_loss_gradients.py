import pytest
import torch

from mmcss.hooks.loss_gradients import kept_tensors, loss_gradients
from mmcss.losses.stream_watch import StreamWatch
from tests.hooks.streams import batch_of, gradients_by_hand, update


def test_gradients_of_a_batch(runner):
    """Those of the training, and what the watch saw of it, stay as they are."""
    update(runner)
    watch = next(part for part in runner.model.method.parts.values() if isinstance(part, StreamWatch))
    seen, before = watch.confidence.clone(), {}
    for name, parameter in runner.model.named_parameters():
        before[name] = parameter.grad = None if 'layer1' in name else torch.randn_like(parameter)
    batch = batch_of(runner)
    length = len(batch['inputs']), batch['inputs'][0].clone()
    torch.manual_seed(3)
    expected, _ = gradients_by_hand(runner, batch)
    torch.manual_seed(3)
    found = loss_gradients(runner, batch)
    for name, parameter in runner.model.named_parameters():
        assert torch.equal(found[parameter], expected[name]) and parameter.grad is before[name]
    assert torch.equal(watch.confidence, seen)
    assert (len(batch['inputs']), batch['data_samples'][0].get('batch_input_shape')) == (length[0], None)
    assert torch.equal(batch['inputs'][0], length[1])


def test_tensors_are_kept_also_where_something_fails():
    tensors = [torch.randn(3), torch.nn.Parameter(torch.randn(2))]
    before = [tensor.detach().clone() for tensor in tensors]
    with pytest.raises(KeyError), kept_tensors(tensors), torch.no_grad():
        for tensor in tensors:
            tensor.add_(1)
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(tensors, before))
