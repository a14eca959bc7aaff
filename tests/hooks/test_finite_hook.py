"""A step whose losses or weights are no longer numbers."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import get_priority
from torch import nn

from mmcss.hooks import ContinualHook, FiniteHook
from mmcss.hooks.finite_hook import check_state, files_of, not_finite

NAN, INF = float('nan'), float('inf')


def runner(*hooks, max_iters=100):
    """A runner as far as the hook looks at it."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    model.split = SimpleNamespace(step=3)
    return SimpleNamespace(model=model, hooks=list(hooks), iter=0, max_iters=max_iters)


def batch(*files):
    return dict(inputs=[], data_samples=[SimpleNamespace(img_path=file) for file in files])


def train(hook, made, *losses):
    """Iterations of these log variables; each has a batch of an image of its own."""
    for values in losses:
        hook.after_train_iter(made, 0, batch(f'{made.iter + 1}.png'),
                              {name: torch.tensor(value) for name, value in values.items()})
        made.iter += 1


GOOD = dict(loss=1., loss_ce=1.)


def test_the_first_loss_that_is_nan_is_named():
    hook, made = FiniteHook(interval=4), runner()
    train(hook, made, GOOD, dict(loss=NAN, loss_ce=1., loss_kd=NAN), dict(loss=NAN, loss_ce=NAN))  # not looked at yet
    with pytest.raises(FloatingPointError) as caught:
        train(hook, made, GOOD)
    assert str(caught.value).startswith('step 3: loss_kd is nan in iteration 2 on 2.png. Nothing of the step is handed')
    assert 'optim_wrapper.optimizer.lr' in str(caught.value)


@pytest.mark.parametrize('values, told', [
    (dict(loss=INF, loss_ce=INF), 'loss_ce is inf'), (dict(loss=NAN), 'loss is nan'),
    (dict(loss=NAN, a_loss=-INF, b_loss=INF), 'a_loss is -inf, b_loss is inf')])
def test_losses_that_are_no_numbers(values, told):
    with pytest.raises(FloatingPointError, match=f'^step 3: {told} in iteration 1 on 1.png'):
        train(FiniteHook(interval=1), runner(), values)


def test_what_is_no_loss_may_be_nan():
    hook, made = FiniteHook(interval=1), runner()
    train(hook, made, dict(GOOD, acc_seg=NAN))
    hook.after_train_iter(made, 0, None, dict(loss=1., text='x'))
    hook.after_train_iter(made, 0, None, None)
    hook.after_train(made)


def test_losses_come_and_go():
    hook, made = FiniteHook(interval=3), runner()
    with pytest.raises(FloatingPointError, match='b_loss is nan in iteration 3'):
        train(hook, made, GOOD, dict(loss=1., a_loss=1.), dict(loss=NAN, b_loss=NAN))


def test_losses_are_not_looked_at_in_between(monkeypatch):
    """Reading a tensor waits for a GPU."""
    hook, made = FiniteHook(interval=50), runner()
    for reading in ('item', 'tolist', 'cpu', '__bool__', 'numpy'):
        monkeypatch.setattr(torch.Tensor, reading, lambda *args, **kwargs: pytest.fail('the device is waited for'))
    train(hook, made, *[GOOD] * 49)


def test_losses_keep_no_graph():
    hook, made = FiniteHook(), runner()
    hook.after_train_iter(made, 0, None, dict(loss=torch.ones((), requires_grad=True) * 2))
    assert not hook._losses[0].values.requires_grad


@pytest.mark.parametrize('moment', ['after_train_epoch', 'before_val_epoch', 'after_train'])
@pytest.mark.parametrize('broken, told', [
    ('0.weight', 'after iteration 1 the model holds NaN or infinite values in 0.weight, though all losses'),
    (None, 'loss is nan')])
def test_before_anything_is_kept_losses_and_weights_are_looked_at(moment, broken, told):
    hook, made = FiniteHook(), runner()
    train(hook, made, GOOD if broken else dict(loss=NAN))
    if broken:
        made.model.state_dict()[broken].view(-1)[0] = NAN
    with pytest.raises(FloatingPointError, match=told):
        getattr(hook, moment)(made)


@pytest.mark.parametrize('options, saved_at', [
    (dict(interval=2), 2), (dict(interval=-1), 5), (dict(interval=3, save_begin=2), 2), (dict(interval=3), 3)])
def test_weights_are_looked_at_before_a_checkpoint(options, saved_at):
    made = runner(CheckpointHook(by_epoch=False, **options), max_iters=5)
    hook = FiniteHook()
    with torch.no_grad():
        made.model[0].weight[0] = INF
    train(hook, made, *[GOOD] * (saved_at - 1))
    with pytest.raises(FloatingPointError, match=f'after iteration {saved_at} the model holds NaN or infinite'):
        train(hook, made, GOOD)


def test_a_checkpoint_of_someone_else_is_looked_at():
    hook, made = FiniteHook(), runner()
    hook.before_save_checkpoint(made, dict(state_dict=made.model.state_dict()))
    made.model[1].running_mean[0] = NAN
    with pytest.raises(FloatingPointError, match='the checkpoint after iteration 0 would hold NaN in 1.running_mean'):
        hook.before_save_checkpoint(made, dict(state_dict=made.model.state_dict()))


def test_the_average_is_looked_at():
    average = EMAHook()
    average.ema_model = SimpleNamespace(module=nn.Linear(1, 1))
    average.ema_model.module.bias.data[0] = NAN
    with pytest.raises(FloatingPointError, match='the average of bias'):
        FiniteHook().after_train(runner(average))


def test_a_model_that_begins_with_nan():
    made = runner()
    FiniteHook().before_train(made)
    with torch.no_grad():
        for value in made.model.parameters():
            value.fill_(NAN)
    with pytest.raises(FloatingPointError, match=r'its initial weights hold .* in 0.weight, 0.bias, 1.weight and 1 more\. No'):
        FiniteHook().before_train(made)


def test_weights_must_be_finite_and_buffers_no_nan():
    model = nn.Module()
    model.weight = nn.Parameter(torch.tensor([1., INF]))
    model.register_buffer('mask', torch.tensor([0., -INF]))
    model.register_buffer('mean', torch.tensor([0., NAN]))
    model.register_buffer('count', torch.tensor(3))
    assert not_finite(model) == ['weight', 'mean']
    assert not_finite(nn.Module()) == []


def test_all_processes_stop_for_the_earliest(monkeypatch):
    others = [(5, 'b'), None, (2, 'a')]
    monkeypatch.setattr('mmcss.hooks.finite_hook.all_gather_object', lambda own: [own, *others])
    with pytest.raises(FloatingPointError, match='^step 3: a. Nothing'):
        FiniteHook().after_train(runner())


def test_what_parts_gather():
    check_state(runner(), 'targets', dict(thresholds=torch.tensor([INF, 1.]), count=torch.tensor(2)))
    with pytest.raises(FloatingPointError, match='step 3: the state of sdr holds NaN in prototypes'):
        check_state(runner(), 'sdr', dict(prototypes=torch.tensor([1., NAN]), count=torch.tensor(2)))


def test_files_of_a_batch():
    assert files_of(batch('a.png', 'b.png')) == ('a.png', 'b.png')
    assert files_of(dict(data_samples=[SimpleNamespace()])) == files_of([1]) == files_of(None) == ()


def test_it_comes_before_parts_look_at_the_trained_model():
    assert get_priority(FiniteHook.priority) <= get_priority(ContinualHook.priority)
