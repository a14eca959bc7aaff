import math

import pytest
import torch

from mmcss.losses.online_em import CompositeLoss, impossible_mass, relabel
from mmcss.parts import StepBatch
from mmcss.scenario import Split
from tests.losses import loops

OLD, NEW = ('background', 'a', 'b'), ('c', 'd')
SPLIT = Split(1, OLD, NEW, (), OLD, 'background')
# One image of the step, one of step 0, one whose labels tell all classes.
LABELLED = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0], [0, 1, 1, 1, 1]], dtype=torch.bool)


def scores(seed=0, scale=3., number=3, **options):
    return (scale * torch.randn(number, 5, 4, 4, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def labels(seed=0):
    """Each image has only classes that its labels tell."""
    generator = torch.Generator().manual_seed(seed)
    valid = ((0, 3, 4, 255, 0), (0, 1, 2, 255, 0), (0, 1, 3, 255, 0))
    return torch.stack([torch.tensor(own)[torch.randint(5, (4, 4), generator=generator)] for own in valid])


def looped_labels(logits, target, labelled, threshold):
    """The E-step, one pixel after another."""
    values, found = loops.as_array(logits), target.clone()
    for n, i, j in loops.pixels(target):
        if target[n, i, j] == 0:
            p = loops.softmax(values[n, :, i, j])
            candidates = [c for c in range(5) if not labelled[n, c]]
            best = max(candidates, key=lambda c: p[c])
            found[n, i, j] = best if threshold is not None and p[best] > threshold else 255
    return found


def looped_loss(logits, target, labelled, threshold=.8, gamma=.5, average='valid', weight=None):
    """The M-step as a sum over pixels, by autograd."""
    probability, completed = logits.double().softmax(dim=1), looped_labels(logits, target, labelled, threshold)
    sums, counts = [logits.double().sum() * 0, logits.double().sum() * 0], [0, 0]
    for n, i, j in loops.pixels(target):
        factor = 1. if weight is None else weight[n, i, j].item()
        if completed[n, i, j] != 255:
            sums[0] = sums[0] - factor * probability[n, completed[n, i, j], i, j].log()
            counts[0] += 1
        if target[n, i, j] == 0:
            possible = [probability[n, c, i, j] for c in range(5) if not labelled[n, c]]
            sums[1] = sums[1] - factor * sum(possible).log()
            counts[1] += 1
    first, second = (total / (max(count, 1) if average == 'valid' else target.numel())
                     for total, count in zip(sums, counts))
    return first + gamma * second


def loss_of(logits, target, labelled=LABELLED, weight=None, **options):
    loss = CompositeLoss(3, **options)
    loss.batch = StepBatch(SPLIT, target, target, labelled=labelled)
    return loss(logits, target, weight=weight)


# E-step.


@pytest.mark.parametrize('threshold', [0., .5, .8, 1.])
@pytest.mark.parametrize('seed', range(3))
def test_relabelling_against_loops(threshold, seed):
    logits, target = scores(seed), labels(seed)
    found = relabel(logits, target, LABELLED, threshold)
    assert torch.equal(found, looped_labels(logits, target, LABELLED, threshold))
    assert torch.equal(found[target != 0], target[target != 0]) and found.dtype == target.dtype
    kept = (found != 255)[target == 0]
    assert kept.all() if threshold == 0 else not kept.any() if threshold == 1 else 0 < kept.sum() < len(kept)


def test_an_unlabelled_pixel_is_no_class_that_the_labels_tell():
    """Image 0 may show older classes, image 1 newer ones, image 2 background alone."""
    found = relabel(scores(4), torch.zeros(3, 4, 4, dtype=torch.long), LABELLED, 0.)
    assert [sorted(set(one.flatten().tolist())) for one in found] == [[0, 1, 2], [0, 3, 4], [0]]


@pytest.mark.parametrize('threshold, taken', [(.49, True), (.5, False), (.51, False)])
def test_a_class_is_taken_above_the_threshold_alone(threshold, taken):
    """Class 1 and 3 have one half each, of all classes: it is not of the possible ones that the threshold is."""
    logits = torch.full((1, 5, 1, 1), -math.inf)
    logits[:, (1, 3)] = 0.
    found = relabel(logits, torch.zeros(1, 1, 1, dtype=torch.long), LABELLED[:1], threshold)
    assert found.item() == (1 if taken else 255)


def test_the_surest_class_is_not_taken_where_the_labels_rule_it_out():
    logits = torch.tensor([0., 1, 0, 9, 0]).view(1, 5, 1, 1)
    target = torch.zeros(1, 1, 1, dtype=torch.long)
    assert relabel(logits, target, LABELLED[:1], .8).item() == 255
    assert relabel(logits, target, LABELLED[1:2], .8).item() == 3


def test_another_index_of_ignored_pixels():
    target = torch.where(labels() == 255, 99, labels())
    found, same = relabel(scores(), target, LABELLED, .8, ignore_index=99), relabel(scores(), labels(), LABELLED, .8)
    assert torch.equal(torch.where(found == 99, 255, found), same)


# M-step.


def test_impossible_mass_against_loops():
    logits = scores()
    found = impossible_mass(logits, LABELLED)
    for n, i, j in loops.pixels(found):
        p = loops.softmax(loops.as_array(logits)[n, :, i, j])
        expected = -math.log(math.fsum(p[c] for c in range(5) if not LABELLED[n, c]))
        assert found[n, i, j].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    none = impossible_mass(logits, torch.zeros_like(LABELLED))
    assert torch.equal(none, torch.zeros(3, 4, 4))


@pytest.mark.parametrize('options', [
    {}, dict(threshold=.4), dict(threshold=None), dict(gamma=0.), dict(gamma=.1), dict(average='all'),
    dict(average='all', threshold=.4, gamma=2.)], ids=str)
@pytest.mark.parametrize('seed', [0, 1])
def test_value_and_gradient_against_loops(options, seed):
    logits, target = scores(seed), labels(seed)
    loss, looped = loss_of(logits, target, **options), looped_loss(logits, target, LABELLED, **options)
    assert loss.item() == pytest.approx(looped.item(), rel=1e-5) and loss.item() > .1
    gradient, expected = (torch.autograd.grad(one, logits)[0] for one in (loss, looped))
    torch.testing.assert_close(gradient, expected.float(), rtol=1e-4, atol=1e-6)


def test_each_switch_makes_a_difference():
    found = [loss_of(scores(), labels(), **options).item() for options in (
        {}, dict(threshold=.3), dict(threshold=None), dict(gamma=0.), dict(average='all'))]
    assert len(set(found)) == 5


def test_no_relabelling_and_no_second_term_is_cross_entropy_on_labelled_pixels():
    logits, target = scores(), labels()
    found = loss_of(logits, target, threshold=None, gamma=0.)
    expected = torch.nn.functional.cross_entropy(logits, torch.where(target == 0, 255, target), ignore_index=255)
    torch.testing.assert_close(found, expected)
    assert CompositeLoss(3).threshold == .8 and CompositeLoss(3).gamma == .5


def test_weights_of_pixels_and_of_the_loss():
    logits, target, weight = scores(), labels(), torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(5))
    found = loss_of(logits, target, weight=weight, threshold=.4)
    assert found.item() == pytest.approx(looped_loss(logits, target, LABELLED, .4, weight=weight).item(), rel=1e-5)
    each = torch.tensor([2., 0, 1])[:, None, None]
    expected = looped_loss(logits, target, LABELLED, weight=each.expand(3, 4, 4)).item()
    assert loss_of(logits, target, weight=each, loss_weight=3.).item() == pytest.approx(3 * expected, rel=1e-5)


def test_class_weights_are_those_of_completed_labels():
    """Of the first term; the second is about pixels without label."""
    logits, target, weights = scores(), labels(), [1., 2, 0, 5, .5]
    completed = relabel(logits, target, LABELLED, .4)
    by_label = torch.tensor(weights)[completed.clamp(max=4)]
    found = loss_of(logits, target, threshold=.4, gamma=0., class_weight=weights)
    torch.testing.assert_close(found, loss_of(logits, target, weight=by_label, threshold=.4, gamma=0.))
    second = [loss_of(logits, target, threshold=.4, gamma=gamma, class_weight=weights) for gamma in (0., 1.)]
    torch.testing.assert_close(second[1] - second[0], impossible_mass(logits, LABELLED)[target == 0].mean())


def test_losses_of_pixels_for_a_sampler():
    logits, target = scores(), labels()
    loss = CompositeLoss(3, threshold=.4, gamma=2., average='all')
    loss.batch = StepBatch(SPLIT, target, target, labelled=LABELLED)
    found = loss(logits, target, reduction_override='none')
    assert found.shape == target.shape and not found[target == 255].any()
    torch.testing.assert_close(found.mean(), loss(logits, target))


@pytest.mark.parametrize('average', ['valid', 'all'])
def test_a_batch_of_ignored_pixels_alone(average):
    logits = scores()
    loss = loss_of(logits, torch.full((3, 4, 4), 255), average=average)
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_nothing_is_unlabelled_or_nothing_is_labelled():
    """Each term is 0, with a gradient of 0, where it has no pixel."""
    logits, full = scores(), torch.tensor([3, 1, 1])[:, None, None].expand(3, 4, 4)
    torch.testing.assert_close(loss_of(logits, full), torch.nn.functional.cross_entropy(logits, full))
    empty = torch.zeros(3, 4, 4, dtype=torch.long)
    loss = loss_of(logits, empty, threshold=None, gamma=1.)
    torch.testing.assert_close(loss, impossible_mass(logits, LABELLED).mean())
    loss.backward()
    assert logits.grad.isfinite().all() and logits.grad[0, 3:].gt(0).all() and logits.grad[0, :3].lt(0).all()


def test_an_image_whose_labels_tell_all_classes():
    """Only background is left: the second term is its cross-entropy."""
    logits, target = scores(number=1), torch.zeros(1, 4, 4, dtype=torch.long)
    loss = loss_of(logits, target, LABELLED[2:], threshold=None, gamma=1.)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, target))


def test_scores_far_apart_stay_finite():
    logits = (1e4 * scores()).detach().requires_grad_()
    loss = loss_of(logits, labels())
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_mixed_precision():
    """Sums in float32, also of scores in half precision."""
    logits, target = scores(), labels()
    expected = loss_of(logits.detach().bfloat16().float(), target, threshold=.4).item()
    with torch.autocast('cpu', torch.bfloat16):
        low = logits.detach().bfloat16().requires_grad_()
        loss = loss_of(low, target, threshold=.4)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected, rel=1e-5)
    assert low.grad.dtype == torch.bfloat16 and low.grad.isfinite().all()


# What a step asks of its batches.
