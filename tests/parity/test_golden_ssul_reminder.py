"""SSUL and REMINDER against the numbers of their authors' functions (see data/README.md)."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.models.losses import CrossEntropyLoss

from mmcss.losses import (BinaryCrossEntropyLoss, ClassSimilarityWeightedKD, binary_cross_entropy, class_means, class_sums)
from mmcss.parts import Prediction, StepBatch
from mmcss.scenario import Split
from tests.parity.test_golden import agree, load

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_'


def wave(shape, function, a, scale):
    """``scale * function(a k)`` over the linear index k, computed in float64."""
    return torch.from_numpy(scale * function(a * np.arange(np.prod(shape)))).float().reshape(shape)


def rates(schedulers, base, iterations=1000):
    """Learning rate before each iteration of 100 epochs, as a runner would set it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    built = []
    for config in schedulers:
        config = {key: value for key, value in config.items() if key != 'convert_to_iter_based'}
        cls = PARAM_SCHEDULERS.get(config.pop('type'))
        config.setdefault('end', 100)
        built.append(cls.build_iter_from_epoch(optimizer, epoch_length=iterations // 100, **config))
    found = []
    for _ in range(iterations):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in built:
            scheduler.step()
    return found


def test_polynomial_schedule_of_ssul():
    """MMEngine's reaches its end one iteration early: 0.0099909995 and 0.0053588673 in the authors' code."""
    cfg = Config.fromfile(CONFIGS / 'schedules' / 'voc_ssul.py')
    found = rates(cfg.param_scheduler, .01)
    assert [found[1], found[500]] == pytest.approx([.0099909914, .0053545039], rel=1e-7)
    assert min(found) >= 1e-6


def test_warm_up_of_ssul_on_ade20k():
    """MMEngine's is through one iteration early, which is a hundredth of these hundred."""
    cfg = Config.fromfile(CONFIGS / 'methods' / 'ssul_ade20k.py')
    found = rates(cfg.official.param_scheduler, cfg.official.next_steps.optim_wrapper.optimizer.lr)
    assert [found[i] for i in (0, 50, 100, 500)] == pytest.approx([5e-5, .0238960067, .0454766288, .0267943356], rel=1.1e-2)
    assert found.index(max(found)) == 99


def test_binary_cross_entropy_of_ssul():
    golden = load('ssul_bce_with_logits')
    student = golden['student'].requires_grad_()
    loss = BinaryCrossEntropyLoss(num_old=0, classes='all')(student, golden['labels'].long())
    agree(loss, golden, (student, golden['grad']))


def test_closed_form_binary_cross_entropy():
    """Its mean is the number of channels times MMSegmentation's over valid pixels."""
    logits = wave((2, 5, 4, 4), np.sin, .37, 3.)
    labels = (7 * torch.arange(32) % 6).reshape(2, 4, 4)
    labels[labels == 5] = 255
    assert (labels == 255).sum() == 5
    loss = binary_cross_entropy(logits, labels)
    assert loss.sum().item() == pytest.approx(158.7186432, rel=1e-6)
    assert loss[0, 0].tolist() == pytest.approx([1.234217, 2.557863, 4.647778, 7.291907], rel=1e-6)
    assert BinaryCrossEntropyLoss(0, classes='all')(logits, labels).item() == pytest.approx(5.8784680, rel=1e-6)
    stock = CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=True)(logits, labels, ignore_index=255)
    assert stock.item() == pytest.approx(1.1756938, rel=1e-6)


@pytest.mark.parametrize('delta', [0, 1])
def test_class_similarity_weighted_distillation(delta):
    golden = load(f'reminder_csw_kd_delta{delta}')
    num_old, num_all = golden['num_old'], golden['student'].shape[1]
    names = tuple(map(str, range(num_all)))
    labels, size = golden['labels'], tuple(golden['labels'].shape[1:])
    sums, counts = class_sums(golden['features'], labels - num_old, num_all - num_old, align_corners=True)
    prototypes = class_means(sums.sum(dim=0), counts.sum(dim=0))
    torch.testing.assert_close(prototypes, golden['batch_prototypes'][num_old:], rtol=1e-5, atol=1e-6)
    student = golden['student'].requires_grad_()
    batch = StepBatch(Split(1, names[:num_old], names[num_old:], (), ()), labels, labels)
    batch.student = Prediction(student, size, embedding=golden['features'])
    batch.teacher = Prediction(golden['teacher'], size)
    assert golden['delta_times_num_old'] == delta
    part = ClassSimilarityWeightedKD(1., golden['temperature'], float(delta), align_corners=True)
    old = golden['old_prototypes']
    part.load_previous(dict(prototypes=old, channels=torch.full((num_old, ), old.shape[1])))
    agree(part.loss(batch), golden, (student, golden['grad']))
