"""The losses against the numbers of the authors' own functions (see data/README.md)."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss

from mmcss.evaluation.confusion import confusion_matrix, iou_per_class, mean_of_group, pixel_accuracy
from mmcss.losses import (BinaryCrossEntropyLoss, LocalPOD, UnbiasedCrossEntropyLoss, binary_cross_entropy,
                          binary_distillation, fold_new_into_background, knowledge_distillation, local_pod, pooled_strips,
                          unbiased_distillation)
from mmcss.losses.entropy import CoarseHistogram, entropy_and_class
from mmcss.models import EntropyPseudoLabels
from mmcss.models.new_rows import share_background
from mmcss.parts import Prediction, StepBatch
from mmcss.scenario import Split
from tests.parity.closed_form import wave

DATA = Path(__file__).parent / 'data'


def load(name):
    with np.load(DATA / f'{name}.npz') as arrays:
        return {key: torch.from_numpy(arrays[key]) if arrays[key].ndim else arrays[key].item() for key in arrays.files}


def agree(loss, golden, *pairs):
    """The loss to 1e-5, gradients to 1e-4, both relative."""
    loss.backward()
    assert loss.item() == pytest.approx(golden['loss'], rel=1e-5)
    for tensor, expected in pairs:
        assert torch.linalg.vector_norm(tensor.grad - expected) <= 1e-4 * torch.linalg.vector_norm(expected)


def test_unbiased_cross_entropy():
    """The file holds the mean over valid pixels; the closed-form number below is over all of them."""
    golden = load('mib_unbiased_cross_entropy')
    student = golden['student'].requires_grad_()
    loss = UnbiasedCrossEntropyLoss(golden['num_old'])(student, golden['labels'].long())
    agree(loss, golden, (student, golden['grad']))


def test_unbiased_distillation():
    golden = load('mib_unbiased_knowledge_distillation')
    student = golden['student'].requires_grad_()
    loss = unbiased_distillation(student, golden['teacher'], golden['alpha']).mean()
    agree(loss, golden, (student, golden['grad']))


def test_knowledge_distillation():
    golden = load('lwf_knowledge_distillation')
    student = golden['student'].requires_grad_()
    loss = knowledge_distillation(student, golden['teacher'], golden['alpha']).mean()
    agree(loss, golden, (student, golden['grad']))


def disjoint_bce(student, teacher, labels, background):
    """The one loss of iCaRL from the two halves it is made of here; ignored pixels count as no new class."""
    num_old = teacher.shape[1]
    labels = torch.where(labels == 255, num_old - 1, labels)
    loss = binary_cross_entropy(student, labels, num_old, background)
    return (loss + binary_distillation(student, teacher, first=int(background))).mean()


def test_disjoint_binary_cross_entropy():
    golden = load('lwf_mc_icarl_bce')
    student = golden['student'].requires_grad_()
    loss = disjoint_bce(student, golden['teacher'], golden['labels'], background=False)
    agree(loss, golden, (student, golden['grad']))


def test_pseudo_labels_of_the_released_code():
    golden = load('plop_pseudo_label_authors_code')
    num_old, num_all = golden['num_old'], golden['num_all']
    entropy, _ = entropy_and_class(golden['teacher'])
    torch.testing.assert_close(entropy, golden['shannon_entropy'], rtol=1e-5, atol=1e-6)
    names = tuple(map(str, range(num_all)))
    batch = StepBatch(Split(1, names[:num_old], names[num_old:], (), ()), golden['labels'], golden['labels'])
    batch.teacher = Prediction(golden['teacher'], tuple(golden['labels'].shape[1:]))
    part = EntropyPseudoLabels('code', 'histogram', over_processes=False, nu_without_background=0.)
    part.before_step(batch.split, [batch])
    torch.testing.assert_close(part.thresholds[0], golden['thresholds'][:num_old], rtol=1e-5, atol=1e-7)
    part.targets(batch)
    assert torch.equal(batch.target, golden['pseudo_labels'])
    torch.testing.assert_close(batch.pixel_weight.flatten(), golden['nu'], rtol=1e-5, atol=0)


@pytest.mark.parametrize('uncertain, number, old, expected', [
    (0., 400, 16, .005), (1., 400, 16, .0249750), (.4, 400, 16, .00833333), (.6, 400, 16, .0282917), (1., 400, 101, .005)])
def test_thresholds_of_the_released_code(uncertain, number, old, expected):
    """Pixels that are certain or have no idea at all, of one predicted class."""
    highest = 1 / (old * np.log({16: 17, 101: 151}[old]))  # of the released code's measure
    values = torch.where(torch.arange(number) < uncertain * number, highest, 0.).float()
    histogram = CoarseHistogram(1)
    histogram.add(values, torch.zeros(number, dtype=torch.int64), torch.ones(number, dtype=torch.bool))
    assert histogram.medians().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('number, expected', [(40000, np.inf), (400, -np.inf)])
def test_thresholds_of_the_released_code_where_no_bin_stops(number, expected):
    shares = torch.cat([torch.full((int(share * number + .5), ), bin / 100 + .005)
                        for bin, share in enumerate((.3, .35, .35))])
    histogram = CoarseHistogram(1)
    histogram.add(shares, torch.zeros(number, dtype=torch.int64), torch.ones(number, dtype=torch.bool))
    assert histogram.medians().item() == expected


def test_balanced_initialisation():
    golden = load('mib_classifier_init')
    num_old, num_new = len(golden['old_bias']), golden['num_new']
    weight = torch.cat((golden['old_weight'], torch.randn(num_new, *golden['old_weight'].shape[1:])))
    bias = torch.cat((golden['old_bias'], torch.randn(num_new)))
    share_background('conv_seg.weight', weight, slice(num_old, len(weight)))
    share_background('conv_seg.bias', bias, slice(num_old, len(bias)))
    torch.testing.assert_close(weight[num_old:], golden['new_weight'])
    torch.testing.assert_close(bias[num_old:], golden['new_bias'])
    assert bias[0].item() == pytest.approx(golden['background_bias'])
    assert torch.equal(weight[:num_old], golden['old_weight'])
    assert torch.equal(bias[1:num_old], golden['old_bias'][1:])


@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('remainder', ['share', 'drop'])
def test_local_pod_embedding(number, remainder):
    golden = load(f'plop_local_pod_embedding_{number}')
    if remainder == 'share' and any(size % 4 for size in golden['x'].shape[2:]):
        pytest.fail('the golden maps divide by 4, so that both settings must agree')
    strips = pooled_strips(golden['x'].square(), golden['scales'].tolist(), remainder)
    embedding = torch.cat([strip.flatten(1) for strip in strips], dim=1).sort(dim=1).values
    torch.testing.assert_close(embedding, golden['embedding_sorted'], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('number', [0, 1])
def test_local_pod(number):
    """Sizes 16 and 8 divide by all scales; 12 and 6 do not, where the authors' code drops the last rows and columns."""
    golden = load(f'plop_local_pod_{number}')
    new = [golden[f'new_{i}'].requires_grad_() for i in range(3)]
    old = [golden[f'old_{i}'] for i in range(3)]
    num_old, num_new = golden['num_old'], golden['num_new']
    split = Split(1, tuple(map(str, range(num_old))), tuple(map(str, range(num_old, num_old + num_new))), (), ())
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    batch = StepBatch(split, labels, labels)
    batch.student = Prediction(new[2], (16, 16), stages=(new[0], ), embedding=new[1])
    batch.teacher = Prediction(old[2], (16, 16), stages=(old[0], ), embedding=old[1])
    part = LocalPOD(golden['feature_weight'], golden['logit_weight'], golden['scales'].tolist(), remainder='drop', fold='sum')
    agree(part.loss(batch), golden, *((new[i], golden[f'grad_{i}']) for i in range(3)))


def test_closed_form_losses():
    """Numbers of the authors' functions on closed-form float64 inputs."""
    student, teacher = wave((2, 5, 4, 4), .7, .3, 2), wave((2, 3, 4, 4), 1.1, -.4, 2)
    first = torch.tensor([[0, 0, 3, 4], [255, 0, 3, 0], [4, 4, 0, 0], [3, 0, 255, 0]])
    labels = torch.stack((first, first.flip(0)))
    unce = UnbiasedCrossEntropyLoss(3, average='all')(student, labels)
    assert unce.item() == pytest.approx(1.306012556125522, rel=1e-6)
    assert unbiased_distillation(student, teacher).mean().item() == pytest.approx(0.6206808868353046, rel=1e-6)
    assert knowledge_distillation(student, teacher).mean().item() == pytest.approx(0.5794654743780223, rel=1e-6)
    bce = BinaryCrossEntropyLoss(3, classes='all', average='all')(student, labels)
    assert bce.item() == pytest.approx(3.98995921, rel=1e-6)
    assert binary_distillation(student, teacher).mean().item() == pytest.approx(2.7411106338260645, rel=1e-6)
    assert disjoint_bce(student, teacher, labels, False).item() == pytest.approx(4.58514925, rel=1e-6)
    assert disjoint_bce(student, teacher, labels, True).item() == pytest.approx(4.53686953, rel=1e-6)
    for average, expected in (('all', 2.070271309662237), ('valid', 2.3660243538997)):
        ce = CrossEntropyLoss(avg_non_ignore=average == 'valid')(student, labels, ignore_index=255)
        assert ce.item() == pytest.approx(expected, rel=1e-6)


def test_closed_form_entropy():
    """The released code's measures of the first four pixels: e, and u = e / ln 5."""
    teacher = wave((2, 3, 4, 4), 1.1, -.4, 2)
    entropy = entropy_and_class(teacher)[0][0, 0] / (3 * np.log(3))
    assert entropy.tolist() == pytest.approx([.29026675, .13316008, .21531702, .26517286], rel=1e-6)
    names = ('0', '1', '2', '3', '4')
    target = torch.zeros(2, 4, 4, dtype=torch.long)
    batch = StepBatch(Split(1, names[:3], names[3:], (), ()), target, target, teacher=Prediction(teacher, (4, 4)))
    uncertainty = EntropyPseudoLabels('code').uncertainty_and_class(batch)[0][0, 0]
    assert uncertainty.tolist() == pytest.approx([.18035287, .08273701, .13378399, .16476116], rel=1e-6)


def test_closed_form_balanced_start():
    """Three new classes beside two old ones share the background's probability."""
    weight = torch.tensor([[.3, -.2], [.1, .5], [0, 0], [0, 0], [0, 0]])
    bias = torch.tensor([.7, -.1, 0, 0, 0])
    share_background('conv_seg.weight', weight, slice(2, len(weight)))
    share_background('conv_seg.bias', bias, slice(2, len(bias)))
    assert bias.tolist() == pytest.approx([-.68629438, -.1, *[-.68629438] * 3], abs=1e-7)
    probabilities = (weight @ torch.tensor([1.2, -.4]) + bias).softmax(0)
    assert probabilities.tolist() == pytest.approx([.19729542, .21081829, *[.19729542] * 3], abs=1e-6)


def test_metric_of_the_authors():
    """A class without labels is left out of the mean, though it is predicted."""
    labels = torch.tensor([0, 0, 1, 1, 255, 2, 0, 0])
    confusion = confusion_matrix(torch.tensor([0, 1, 1, 3, 2, 2, 0, 3]), labels, 4).numpy()
    iou = iou_per_class(confusion)
    assert iou.tolist() == pytest.approx([50, 100 / 3, 100, 0])
    labelled = confusion.sum(1) > 0
    assert mean_of_group(iou, labelled, range(4), 'skip') == pytest.approx(61.111070, rel=1e-5)
    assert pixel_accuracy(confusion) == pytest.approx(57.142857)


def test_means_of_the_authors_script():
    """The last row of the published test vector of ``average_csv``: class 1 has no pixel."""
    iou, labelled = np.array([80, 70, 60, 10, 30.]), np.array([True, False, True, True, True])
    assert mean_of_group(iou, labelled, range(5), 'skip') == pytest.approx(45)
    assert mean_of_group(iou, labelled, [0, 1, 2], 'zero') == pytest.approx(46.67, abs=5e-3)
    assert mean_of_group(iou, labelled, [3, 4], 'zero') == pytest.approx(20)


def test_closed_form_pod():
    a, b = wave((2, 3, 8, 8), .37, .10, 1.5), wave((2, 3, 8, 8), .37, .15, 1.5)
    assert local_pod(b, a).item() == pytest.approx(1.2572025852026059, rel=1e-6)
    strips = torch.cat([strip.flatten(1) for strip in pooled_strips(a)], dim=1)
    assert strips.shape == (2, 336) and strips.sum().item() == pytest.approx(12.90283117061271, rel=1e-6)
    old, new = wave((2, 3, 8, 8), .53, .2, 3), wave((2, 5, 8, 8), .29, .9, 3)
    assert local_pod(fold_new_into_background(new, 3, 'sum'), old).item() == pytest.approx(335.4602418703049, rel=1e-6)


@pytest.mark.parametrize('size, length, total', [(10, 248, 14.611151903033273), (9, 228, -1.1800273871117781)])
def test_closed_form_embedding_of_sizes_that_do_not_divide(size, length, total):
    strips = pooled_strips(wave((1, 2, size, size), .37, .1, 1.5), remainder='drop')
    embedding = torch.cat([strip.flatten() for strip in strips])
    assert len(embedding) == length
    assert embedding.sum().item() == pytest.approx(total, rel=1e-6)
