"""One whole training iteration in the official profile, against the authors' Trainer.

The reference numbers (float64, CPU) come from running the trainer of
https://github.com/arthurdouillard/CVPR2021_PLOP (commit 4b4a060) on the inputs
of closed_form.py.
"""
import pytest
import torch

from mmcss.models.targets import accepted_share
from mmcss.session import Moments, PartStates
from tests.parity.closed_form import data_samples, labels, official_student

IMAGES = torch.zeros(2, 3, 16, 16)


def begin(model):
    """Let the parts look at the images before training."""
    Moments(model, lambda *_: [model.predict_batch(IMAGES, data_samples(), model.method.needs)], PartStates()).begin({})


def iterate(model):
    """Losses by name, and the sum of absolute gradients at the small logits."""
    begin(model)
    losses = model.loss(IMAGES, data_samples())
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return {name: value.item() for name, value in losses.items()}, model.decode_head.logits.grad.abs().sum().item()


@pytest.mark.parametrize('method, expected, gradient', [
    ('finetune', {'decode.loss_ce': 1.7132524486676024}, 1.3827743150853369),
    ('lwf', {'decode.loss_ce': 1.7132524486676024, 'loss_kd': 47.18241183998608}, 23.91490536903305),
    ('lwf_mc', {'decode.loss_bce': 3.607362985610962}, 7.953826363654249),
    ('ilt', {'decode.loss_ce': 1.7132524486676024, 'loss_kd': 47.18241183998608,
             'loss_features': .49252971242415733}, 23.91490536903305),
    ('mib', {'decode.loss_unce': .8694386043000717, 'loss_unkd': 5.13258029564069}, 2.714428467582103),
    ('plop', {'decode.loss_ce': .504031574421962, 'loss_local_pod': .0277838130}, .39149718955760526),
])
def test_iteration(method, expected, gradient):
    """Features are fixed, so that all gradients are those of the logits."""
    losses, found = iterate(official_student(method, returns=1 if method == 'ilt' else 0))
    for name, value in expected.items():
        assert losses[name] == pytest.approx(value, rel=1e-5), name
    assert found == pytest.approx(gradient, rel=1e-5)


def test_plop_pseudo_labels():
    model = official_student('plop')
    part = model.method.parts['targets']
    begin(model)
    batch = model.predict_batch(IMAGES, data_samples(), model.method.needs)
    assert part.thresholds[0].tolist() == pytest.approx([.1170, .001, .118214], abs=5e-7)
    part.targets(batch)
    counts = torch.bincount(batch.target.flatten(), minlength=256)
    assert counts[[0, 1, 2, 3, 4, 255]].tolist() == [77, 0, 74, 16, 136, 209]
    assert batch.pixel_weight.flatten().tolist() == pytest.approx([.44444444, .49107142], abs=1e-7)
    background = labels() == 0
    assert background.sum(dim=(1, 2)).tolist() == [216, 112]
    accepted = background & (batch.target != 255)
    assert accepted.sum(dim=(1, 2)).tolist() == [96, 55]
    assert torch.equal(accepted_share(accepted, background), batch.pixel_weight)
