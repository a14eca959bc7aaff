from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from torch import nn

from mmcss.hooks import HandOverHook
from mmcss.models import load_hand_over, save_hand_over
from mmcss.models.hand_over import tensors_id

CLASSES = ('background', 'a', 'b')
METAINFO = dict(classes=CLASSES, palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]])


def runner(model, *hooks):
    """A runner as far as the hook looks at it."""
    return SimpleNamespace(model=model, hooks=list(hooks),
                           train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=METAINFO)))


def model(value=1.):
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    net.method = SimpleNamespace(observers={})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    return net


def write(path, net, previous=None, hooks=()):
    if previous and previous.exists():
        net.previous_id = load_hand_over(previous)['meta']['id']
    HandOverHook(str(path), previous and str(previous), dict(step=1, regime='disjoint')).after_train(runner(net, *hooks))
    return torch.load(path, weights_only=True)


def test_file_holds_the_model_and_plain_metadata(tmp_path):
    net = model()
    found = write(tmp_path / 'step_1.pth', net)
    assert found.keys() == {'state_dict', 'meta'}
    state = net.state_dict()
    assert found['state_dict'].keys() == state.keys()
    assert all(torch.equal(found['state_dict'][name], state[name]) for name in state)
    meta = found['meta']
    assert (meta['step'], meta['regime'], meta['parent']) == (1, 'disjoint', None)
    assert meta['classes'] == list(CLASSES)
    assert meta['dataset_meta'] == METAINFO
    assert meta['id'] == tensors_id(state)
    assert [path.name for path in tmp_path.iterdir()] == ['step_1.pth']


def test_file_names_its_parent(tmp_path):
    first = write(tmp_path / 'step_0.pth', model())['meta']
    second = write(tmp_path / 'step_1.pth', model(), tmp_path / 'step_0.pth')['meta']
    again = write(tmp_path / 'step_1.pth', model(), tmp_path / 'step_0.pth')['meta']
    other = write(tmp_path / 'step_1.pth', model(2.), tmp_path / 'step_0.pth')['meta']
    assert second['parent'] == again['parent'] == other['parent'] == first['id']
    # The same weights, however often they are written: what was trained on top of them stays so.
    assert first['id'] == second['id'] == again['id'] != other['id']


@pytest.mark.parametrize('change', ['replaced', 'removed'])
def test_a_parent_that_has_changed_meanwhile(tmp_path, change):
    before, net = tmp_path / 'step_0.pth', model()
    net.previous_id = save_hand_over(before, net.state_dict(), dict(classes=['background']))['id']
    if change == 'removed':
        before.unlink()
    else:
        save_hand_over(before, model(2.).state_dict(), dict(classes=['background']))
    hook = HandOverHook(str(tmp_path / 'step_1.pth'), str(before), {})
    with pytest.raises(ValueError, match=f'step_0.pth was {change} while this step was trained'):
        hook.after_train(runner(net))
    assert not (tmp_path / 'step_1.pth').exists()


def test_a_parent_without_id_does_not_lose_the_step(tmp_path):
    """A first step from elsewhere needs no more than a state dict and its classes."""
    torch.save(dict(state_dict=model().state_dict(), meta=dict(classes=['background', 'a'])), tmp_path / 'step_0.pth')
    meta = write(tmp_path / 'step_1.pth', model(), tmp_path / 'step_0.pth')['meta']
    assert meta['classes'] == list(CLASSES) and meta['parent'] == tensors_id(model().state_dict())


def test_what_is_no_number_is_not_handed_over(tmp_path):
    net = model(float('nan'))
    net.split, found = SimpleNamespace(step=1), runner(net)
    found.iter = 7
    with pytest.raises(FloatingPointError, match='step 1: the hand-over would hold NaN or infinite values in 0.weight, 0.bias'):
        HandOverHook(str(tmp_path / 'step_1.pth'), None, {}).after_train(found)
    assert not list(tmp_path.iterdir())


def test_averaged_weights_are_handed_over(tmp_path):
    net, average = model(1.), model(5.)
    hook = EMAHook()
    hook.ema_model = SimpleNamespace(module=average)
    found = write(tmp_path / 'step_1.pth', net, hooks=[hook])
    assert found['state_dict']['0.weight'].unique().tolist() == [5.]


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr('mmcss.hooks.hand_over_hook.is_main_process', lambda: False)
    with pytest.raises(FileNotFoundError):
        write(tmp_path / 'step_1.pth', model())
