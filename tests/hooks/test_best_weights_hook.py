from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.logging import MMLogger
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from mmcss.hooks import BestWeightsHook
from mmcss.hooks.best_weights_hook import best_checkpoint, validates_after


def runner(folder, best=None, save_best='mIoU', several=None):
    """A runner as far as the hook looks at it."""
    hook = CheckpointHook(save_best=save_best, rule='greater') if save_best else CheckpointHook()
    hook.best_ckpt_path = best
    if several is not None:
        del hook.best_ckpt_path
        hook.best_ckpt_path_dict = several
    net, average = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    ema = EMAHook()
    ema.ema_model = SimpleNamespace(module=average)
    return SimpleNamespace(hooks=[hook, ema], model=net, work_dir=str(folder), logger=MMLogger.get_current_instance())


def test_the_best_weights_take_the_place_of_the_last_ones(tmp_path):
    best = {'weight': torch.full((1, 1, 1, 1), 3.), 'bias': torch.full((1, ), 4.)}
    torch.save(dict(state_dict=best), tmp_path / 'best.pth')
    # mmengine notes an absolute path; the folder may have been moved.
    for path in (tmp_path / 'best.pth', '/elsewhere/best.pth'):
        found = runner(tmp_path, str(path))
        BestWeightsHook().after_train(found)
        for model in (found.model, found.hooks[1].ema_model.module):
            assert model.weight.item() == 3. and model.bias.item() == 4.


def test_which_one_is_the_best(tmp_path):
    assert best_checkpoint(runner(tmp_path, 'a.pth')) == 'a.pth'
    assert best_checkpoint(runner(tmp_path, save_best=['mIoU', 'aAcc'], several=dict(mIoU='a.pth', aAcc='b.pth'))) == 'a.pth'
    assert best_checkpoint(runner(tmp_path, 'a.pth', save_best=None)) is None


def test_without_a_validation_there_is_none(tmp_path):
    with pytest.raises(ValueError, match="run.hand_over='best': no best checkpoint was saved"):
        BestWeightsHook().after_train(runner(tmp_path))


@pytest.mark.parametrize('epoch, due', [(0, False), (1, False), (2, True), (3, False), (4, True), (5, True)])
def test_which_validations_a_run_may_have_been_stopped_in(epoch, due):
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop.val_interval, loop.val_begin = 2, 1
    found = SimpleNamespace(train_loop=loop, val_loop=object(), epoch=epoch, max_epochs=5)
    assert validates_after(found) == due
    found.val_loop = None
    assert not validates_after(found)
