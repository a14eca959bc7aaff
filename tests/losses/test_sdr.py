import math

import pytest
import torch
import torch.nn.functional as F

from mmcss.losses.sdr import (LEAST_DISTANCE, LEAST_MEAN, attraction, error_sums, mean_over_classes, nearest_labels,
                              prototype_matching, region_sums, repulsion, sparsity)
from tests.losses import loops

CLASSES = 5  # number 3 is never in the labels


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(classes=(0, 1, 2, 4, 255), grid=(4, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(classes)[torch.randint(len(classes), (2, *grid), generator=generator)]


def vectors(features, target):
    """The feature vectors of each class, one cell after another."""
    found = {}
    for n, i, j in loops.pixels(target):
        if target[n, i, j] < CLASSES:
            found.setdefault(int(target[n, i, j]), []).append(features[n, :, i, j].double().tolist())
    return found


def mean_vector(several):
    return [math.fsum(column) / len(several) for column in zip(*several)]


def squared_error(a, b):
    return math.fsum((x - y)**2 for x, y in zip(a, b)) / len(a)


def looped_attraction(features, target, prototypes, counted):
    terms = []
    for c, several in vectors(features, target).items():
        if counted[c]:
            errors = [squared_error(one, prototypes[c].double().tolist()) for one in several]
            terms.append(math.fsum(errors) / len(errors))
    return math.fsum(terms) / max(len(terms), 1)


def looped_repulsion(features, target, counted):
    means = [mean_vector(several) for c, several in vectors(features, target).items() if counted[c]]
    terms = [1 / math.dist(a, b) for k, a in enumerate(means) for m, b in enumerate(means) if k != m]
    return math.fsum(terms) / max(len(terms), 1)


def looped_sparsity(features, target):
    """Of features that are not negative."""
    terms = []
    for several in vectors(features, target).values():
        peak = max(max(one) for one in several)
        for one in several:
            scaled = [value / peak for value in one]
            terms.append(math.fsum(map(math.exp, scaled)) / math.fsum(scaled) if any(one) else 0.)
    return math.fsum(terms) / max(len(terms), 1)


@pytest.mark.parametrize('size', [(16, 16), (33, 17), (7, 5), (4, 3), (2, 9)])
def test_the_label_of_a_cell_is_the_nearest(size):
    target = torch.randint(256, (2, *size), generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(target[:, None].float(), (4, 3), mode='nearest-exact')[:, 0].long()
    assert torch.equal(nearest_labels(target, (4, 3)), expected)


def test_sums_and_counts_of_classes():
    features, target = random(2, 6, 4, 3), labels()
    sums, counts = region_sums(features, target, CLASSES)
    found = vectors(features, target)
    assert counts.tolist() == [len(found.get(c, [])) for c in range(CLASSES)] and 0 < counts.sum() < target.numel()
    for c in range(CLASSES):
        columns = list(zip(*found[c])) if c in found else [()] * 6
        for value, column in zip(sums[c].tolist(), columns):
            assert value == pytest.approx(math.fsum(column), rel=1e-5, abs=loops.rounding(column))


def test_matching_is_the_mean_over_classes_that_count():
    means, prototypes = random(CLASSES, 6), random(CLASSES, 6, seed=1)
    counted = torch.tensor([False, True, False, False, True])
    expected = [squared_error(means[c].tolist(), prototypes[c].tolist()) for c in (1, 4)]
    assert prototype_matching(means, prototypes, counted).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


@pytest.mark.parametrize('counted', [(0, 1, 1, 1, 1), (1, 1, 0, 0, 1), (0, 0, 0, 1, 0)])
def test_attraction_against_loops(counted):
    features, target, prototypes = random(2, 6, 4, 3), labels(), random(CLASSES, 6, seed=1)
    found = attraction(*error_sums(features, target, prototypes), torch.tensor(counted).bool())
    assert found.item() == pytest.approx(looped_attraction(features, target, prototypes, counted), rel=1e-5)


@pytest.mark.parametrize('counted', [(0, 1, 1, 1, 1), (1, 1, 0, 0, 1), (0, 1, 0, 1, 0)])
def test_repulsion_against_loops(counted):
    features, target = random(2, 6, 4, 3), labels()
    sums, counts = region_sums(features, target, CLASSES)
    means = sums / counts.clamp(min=1)[:, None]
    found = repulsion(means, torch.tensor(counted).bool() & (counts > 0))
    assert found.item() == pytest.approx(looped_repulsion(features, target, counted), rel=1e-5)


def test_repulsion_of_two_classes():
    """3, 4 and 5 make 1/5; its gradient is minus the direction over the square of the distance."""
    means = torch.tensor([[0., 0.], [3., 4.]], requires_grad=True)
    loss = repulsion(means, torch.tensor([True, True]))
    loss.backward()
    assert loss.item() == pytest.approx(.2)
    torch.testing.assert_close(means.grad, torch.tensor([[3., 4.], [-3., -4.]]) / 125)


def test_repulsion_of_equal_means_has_a_bound():
    means = torch.ones(3, 4, requires_grad=True)
    loss = repulsion(means, torch.tensor([True, True, False]))
    loss.backward()
    assert loss.item() == pytest.approx(1 / LEAST_DISTANCE) and (means.grad == 0).all()


@pytest.mark.parametrize('grid', [(4, 4), (4, 3), (1, 7)])
def test_sparsity_against_loops(grid):
    features, target = random(2, 6, *grid).clamp(min=0), labels(grid=grid)
    features[0, :, 0, 0] = 0  # a cell without activation
    expected = looped_sparsity(features, target)
    assert sparsity(features, target, CLASSES).item() == pytest.approx(expected, rel=1e-5)
    # Negative features, which a ReLU would not let through, count as 0.
    negative = torch.where(features == 0, -2., features)
    assert sparsity(negative, target, CLASSES).item() == pytest.approx(expected, rel=1e-5)


def test_sparsity_of_a_class_does_not_depend_on_its_scale():
    features, target = random(2, 6, 4, 3).abs(), labels(classes=(1, 2))
    scaled = torch.where((target == 1)[:, None], 7 * features, features)
    before, after, other = (sparsity(x, target, CLASSES).item() for x in (features, scaled, features + 1))
    assert after == pytest.approx(before, rel=1e-5) and other != pytest.approx(before, rel=1e-2)


def test_sparsity_of_flat_and_of_single_activations():
    """All channels alike give e, one of four (3 + e)."""
    target = torch.ones(1, 1, 1, dtype=torch.long)
    rounded = 16 * torch.finfo(torch.float32).eps  # quotient, exponential, sum and mean, of a few units each
    assert sparsity(torch.full((1, 4, 1, 1), 3.), target, 2).item() == pytest.approx(math.e, rel=rounded)
    single = torch.tensor([0., 3, 0, 0]).view(1, 4, 1, 1)
    assert sparsity(single, target, 2).item() == pytest.approx(3 + math.e, rel=rounded)


def test_sparsity_of_a_faint_cell_has_a_bound():
    features, target = torch.tensor([[8., 8.], [1e-6, 0.]]).T.reshape(1, 2, 2, 1), torch.ones(1, 2, 1, dtype=torch.long)
    features.requires_grad_()
    loss = sparsity(features, target, 2)
    loss.backward()
    assert loss.item() == pytest.approx((math.e + 1 / LEAST_MEAN) / 2, rel=1e-5)
    assert features.grad.abs().max() < 1 / LEAST_MEAN


def terms_of(features, target):
    """All terms of a batch whose means are compared with random prototypes."""
    prototypes, counted = random(CLASSES, features.shape[1], seed=1), torch.tensor([False, *[True] * (CLASSES - 1)])
    sums, counts = region_sums(features, target, CLASSES)
    means, present = sums / counts.clamp(min=1)[:, None], counted & (counts > 0)
    return dict(matching=prototype_matching(means, prototypes, present), repulsion=repulsion(means, present),
                attraction=attraction(*error_sums(features, target, prototypes), counted),
                sparsity=sparsity(features, target, CLASSES))


@pytest.mark.parametrize('classes, zero', [
    ((255, ), {'matching', 'attraction', 'repulsion', 'sparsity'}), ((0, 255), {'matching', 'attraction', 'repulsion'}),
    ((1, 255), {'repulsion'}), ((1, 2), set())])
def test_terms_that_have_nothing_to_act_on_are_zero(classes, zero):
    features = random(2, 6, 4, 3).abs().requires_grad_()
    for name, term in terms_of(features, labels(classes=classes)).items():
        gradient, = torch.autograd.grad(term, features, retain_graph=True)
        assert gradient.isfinite().all() and term.isfinite()
        assert (term.item() == 0 and not gradient.any()) == (name in zero), name


def test_features_that_are_all_zero():
    """Each class mean is 0: no sparsity, and repulsion at its bound, without gradient."""
    features = torch.zeros(2, 6, 4, 3, requires_grad=True)
    terms = terms_of(features, labels())
    assert terms['repulsion'].item() == pytest.approx(1 / LEAST_DISTANCE) and terms['sparsity'].item() == 0
    (terms['repulsion'] + terms['sparsity']).backward()
    assert (features.grad == 0).all()


@pytest.mark.parametrize('name', ['matching', 'attraction', 'repulsion', 'sparsity'])
def test_gradients_are_those_of_the_equations(name):
    """Against finite differences; with absent classes and ignored cells, in single precision."""
    features, target, step = (random(2, 3, 4, 3).abs() + .5).requires_grad_(), labels(), 1e-2
    gradient, = torch.autograd.grad(terms_of(features, target)[name], features)
    direction = random(*features.shape, seed=5)
    ahead, behind = (terms_of(features.detach() + sign * step * direction, target)[name] for sign in (1, -1))
    slope = (ahead - behind).item() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=2e-2, abs=1e-4) and abs(slope) > 1e-3


@pytest.mark.parametrize('name', ['matching', 'attraction', 'repulsion', 'sparsity'])
def test_mixed_precision_computes_in_single_precision(name):
    features, target = (random(2, 6, 64, 64).abs() + 1).bfloat16(), labels(grid=(64, 64))
    expected = terms_of(features.float(), target)[name].item()
    with torch.autocast('cpu', torch.bfloat16):
        found = terms_of(features.float(), target)[name]
    assert found.dtype == torch.float32 and found.item() == pytest.approx(expected, rel=1e-6)


def test_mean_over_no_class():
    assert mean_over_classes(torch.tensor([1., 2.]), torch.tensor([False, False])).item() == 0
