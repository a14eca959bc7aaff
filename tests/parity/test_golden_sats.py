"""SATS against the numbers of its authors' functions (see data/README.md)."""
import math

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmcss.losses import UnbiasedDistillation, unbiased_distillation
from mmcss.losses.entropy import CoarseHistogram
from mmcss.losses.sats import AttentionTransfer, attention_distance
from mmcss.losses.sdr import nearest_labels
from mmcss.models import EntropyPseudoLabels
from mmcss.parts import Attention, Prediction, StepBatch
from mmcss.scenario import Split
from tests.parity.closed_form import METHODS
from tests.parity.test_golden import load
from tests.parity.test_golden_ssul_reminder import wave

STAGES = ((1, 128), (2, 64), (5, 32), (8, 16))  # heads, side
BATCH_OF_SEVEN = Split(1, tuple('0123'), tuple('456'), (), tuple('0123'), '0')


def closed_form_batch():
    """A batch of one image of 512 x 512 with classes 3 and 7, background and ignored pixels."""
    y, x = torch.meshgrid(torch.arange(512), torch.arange(512), indexing='ij')
    target = torch.tensor([3, 7, 0])[(x // 64 + y // 64) % 3]
    target[x < 32] = 255
    names = tuple(map(str, range(8)))
    batch = StepBatch(Split(1, names[:5], names[5:], (), (), '0'), target[None], target[None])
    for name, function, a in (('student', np.sin, .0137), ('teacher', np.cos, .0091)):
        attention = tuple(Attention(wave((1, heads, side**2, 256), function, a, 2.).softmax(dim=3), (side, side))
                          for heads, side in STAGES)
        setattr(batch, name, Prediction(torch.zeros(1, 8, 2, 2), (512, 512), attention=attention))
    return batch


def closed_form_logits():
    return wave((2, 7, 4, 4), np.sin, .37, 3.), wave((2, 4, 4, 4), np.cos, .53, 3.)


@pytest.mark.parametrize('layout', ['permute', 'reshape'])
@pytest.mark.parametrize('block', [0, 1])
def test_region_pooling_of_one_block(block, layout):
    """On the labels that the files have for the block's cells: those of their first pixels."""
    golden = load(f'sats_region_pooling_block{block}_{"paper" if layout == "permute" else "code"}')
    cells = golden['labels_small']
    assert cells.shape[1:] == (golden['grid'], golden['grid'])
    highest = int(cells[cells < 255].max())
    found = attention_distance(golden['new'], golden['old'], cells.flatten(1), range(1, highest + 1), layout=layout)
    assert found.item() == pytest.approx(golden['loss'].item(), rel=1e-5)


def test_the_two_layouts_differ_for_several_heads_alone():
    losses = [[load(f'sats_region_pooling_block{block}_{side}')['loss'].item() for side in ('paper', 'code')]
              for block in (0, 1)]
    assert losses[0][0] == losses[0][1] and abs(losses[1][0] / losses[1][1] - 1) > .05


def test_labels_of_the_closed_form():
    target = closed_form_batch().target
    counts = {side: torch.bincount(nearest_labels(target, (side, side)).flatten(), minlength=256)
              for side in (128, 16)}
    assert {c: counts[128][c].item() for c in (0, 3, 7, 255)} == {0: 5120, 3: 4992, 7: 5248, 255: 1024}
    assert {c: counts[16][c].item() for c in (0, 3, 7, 255)} == {0: 80, 3: 78, 7: 82, 255: 16}


@pytest.mark.parametrize('options, expected, stages', [
    (dict(layout='reshape'), .0029407018, [.00270358, .00271989, .00318834, .00315100]),
    (dict(), .0028958747, [.00270358, .00269606, .00275052, .00343334]),
])
def test_transfer_of_the_closed_form(options, expected, stages):
    batch = closed_form_batch()
    assert AttentionTransfer(1., **options).loss(batch).item() == pytest.approx(expected, rel=1e-5)
    for number, value in enumerate(stages, start=1):
        found = AttentionTransfer(1., stages=[number], **options).loss(batch).item()
        # As printed, and eight roundings in float32 of up to two units in the last place: two softmax of three each, the
        # difference, the mean of squares and its root.
        assert found == pytest.approx(value, abs=5e-9 + 16 * torch.finfo(torch.float32).eps * value)


def test_squared_transfer_of_the_closed_form():
    assert AttentionTransfer(1., squared=True).loss(closed_form_batch()).item() == pytest.approx(8.8876e-6, rel=1e-5)


def test_unbiased_distillation_of_the_closed_form():
    """Times 20 in SATS, over all pixels."""
    new, old = closed_form_logits()
    loss = unbiased_distillation(new, old)
    assert loss.mean().item() == pytest.approx(.58972669, rel=1e-6)
    assert loss[0, 0].tolist() == pytest.approx([.426522, .400358, .492118, .528307], abs=6e-7)
    weight = Config.fromfile(METHODS / 'sats.py').continual.losses.unkd.loss_weight
    target = torch.full((2, 4, 4), 255)
    batch = StepBatch(BATCH_OF_SEVEN, target, target, None, Prediction(old, (4, 4)), Prediction(new, (4, 4)))
    assert UnbiasedDistillation(weight).loss(batch).item() == pytest.approx(20 * .58972669, rel=1e-6)


def pseudo_label_part():
    """As the official profile has it, from the method's own files."""
    cfg = Config.fromfile(METHODS / 'sats_m.py')
    options = dict(cfg.official.continual.targets, adaptive_factor=cfg.continual.targets.adaptive_factor)
    options.pop('type')
    options['over_processes'] = True
    return EntropyPseudoLabels(**options)


def pseudo_label_batch(target):
    return StepBatch(BATCH_OF_SEVEN, target, target, teacher=Prediction(closed_form_logits()[1], (4, 4)))


def test_scores_and_thresholds_of_the_closed_form():
    """The authors' have a threshold for new classes as well, which nothing reads; NaN accepts nothing."""
    batch, part = pseudo_label_batch(torch.zeros(2, 4, 4, dtype=torch.long)), pseudo_label_part()
    score, _ = part.uncertainty_and_class(batch)
    assert score[0, 0].tolist() == pytest.approx([.071038, .083532, .090974, .030133], abs=6e-7)
    assert score.mean().item() == pytest.approx(.05492079, rel=1e-6)
    part.before_step(BATCH_OF_SEVEN, [batch])
    assert part.thresholds[0].tolist() == pytest.approx([math.nan, .001, .03625, .001], rel=1e-6, nan_ok=True)


def test_scores_of_plain_distributions():
    """1 / (16 ln 17) where nothing is known."""
    names = tuple(map(str, range(17)))
    split = Split(1, names[:16], names[16:], (), (), '0')
    sure = torch.full((16, ), .1 / 15)
    sure[0] = .9
    logits = torch.stack((torch.zeros(16), sure.log()), dim=1)[None, :, None]
    target = torch.zeros(1, 1, 2, dtype=torch.long)
    score, _ = EntropyPseudoLabels(measure='code').uncertainty_and_class(
        StepBatch(split, target, target, teacher=Prediction(logits, (1, 2))))
    assert score.flatten().tolist() == pytest.approx([.0220598, .0047411], abs=6e-8)


def test_pseudo_labels_of_the_closed_form():
    raw = (torch.arange(32) % 9).reshape(2, 4, 4)
    raw = torch.where(raw == 8, 255, torch.where((raw < 4) | (raw == 7), 0, raw))
    expected = [255, 255, 255, 2, 4, 5, 6, 255, 255, 255, 255, 255, 255, 4, 5, 6, 2, 255, 255, 255, 255, 255, 4, 5, 6,
                255, 255, 2, 255, 255, 255, 4]
    # The authors took the thresholds with all labels background.
    thresholds = torch.tensor([[math.nan, .001, .03625, .001]])
    part, batch = pseudo_label_part(), pseudo_label_batch(raw)
    part.load_state_dict(dict(thresholds=thresholds))
    part.targets(batch)
    assert batch.target.flatten().tolist() == expected and batch.pixel_weight is None


def test_the_filter_of_the_released_code_lets_all_through_with_a_hundred_old_classes():
    """On ADE20K 100-10: the highest score lies below the median of the lowest bin, 0.005."""
    highest = 1 / (101 * math.log(111))
    assert highest < .0022
    histogram = CoarseHistogram(1)
    scores = torch.linspace(0, highest, 100)
    histogram.add(scores, torch.zeros(100, dtype=torch.long), torch.ones(100, dtype=torch.bool))
    assert histogram.medians().item() == pytest.approx(.005) and histogram.medians().item() > highest
