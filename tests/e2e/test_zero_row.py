"""A plug-in without background: its row is 0 for good, and a row that has no class says no everywhere (as DKD's)."""
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmcss.losses.decode_loss import DecodeLoss
from mmcss.parts import Needs, Part
from tests.e2e.running import run, state
from tests.tiny import tiny_config

WEIGHT, BIAS = 'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'


@MODELS.register_module()
class ForegroundLoss(DecodeLoss):
    """Sigmoids of the new classes; background and the last row are left alone."""

    from_first_step = True

    def per_pixel(self, logits, target, ignore_index):
        first = max(self.num_old, 1)
        numbers = torch.arange(first, logits.shape[1] - 1, device=logits.device)
        present = (target[:, None] == numbers[:, None, None]).float()
        return F.binary_cross_entropy_with_logits(logits[:, first:-1], present, reduction='none').sum(dim=1)


@MODELS.register_module()
class Helper(Part):
    """Makes the background's row 0, and trains the last one."""

    needs = Needs(embedding=True)
    from_first_step = takes_unknown = True

    def attach(self, student, old):
        self.layer = student.decode_head.conv_seg
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter[0] = 0

    def loss(self, batch):
        return F.softplus(self.layer(batch.student.embedding.detach())[:, -1]).mean()


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', [dict(type='SGD', momentum=.9, weight_decay=.1), dict(type='AdamW', weight_decay=.1)])
def test_the_row_stays_0(tiny_data, tmp_path, optimizer):
    """Through weight decay, averaged weights, growth and hand-over; the other row grows into those of new classes."""
    cfg = tiny_config(tiny_data, tmp_path, custom_hooks=[dict(type='EMAHook', momentum=.1)], continual=dict(
        unknown=dict(of='nothing', scores='none'), loss_decode=dict(type='ForegroundLoss'), new_rows='unknown',
        losses=dict(helper=dict(type='Helper')), row_lr=dict(old=.5)))
    cfg.optim_wrapper.optimizer = dict(optimizer, lr=.01)
    cfg.next_steps = {}
    results = run(cfg)
    assert [len(results['scenario'][step]) for step in range(3)] == [3, 1, 1]
    for step, classes in enumerate((3, 4, 5)):
        left = state(tmp_path, step)
        assert left[WEIGHT].shape[0] == len(left[BIAS]) == classes + 1
        assert not left[WEIGHT][0].any() and not left[BIAS][0].any()
        assert all(row.any() for row in left[WEIGHT][1:])
    assert results['steps'][-1]['step'] == 2


@pytest.mark.slow
def test_new_rows_start_as_the_last_one(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1), continual=dict(
        unknown=dict(of='nothing', scores='none'), loss_decode=dict(type='ForegroundLoss'), new_rows='unknown',
        losses=dict(helper=dict(type='Helper'))))
    cfg.next_steps.optim_wrapper.optimizer.lr = 0.
    run(cfg)
    before, after = state(tmp_path, 0), state(tmp_path, 1)
    for name in (WEIGHT, BIAS):
        assert torch.equal(after[name], torch.cat((before[name], before[name][-1:])))
