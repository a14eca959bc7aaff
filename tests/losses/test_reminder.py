import math

import pytest
import torch

from mmcss.losses import ClassSimilarityWeightedKD, similarity_weights, weighted_distillation
from mmcss.parts import Needs, Prediction, StepBatch
from mmcss.scenario import Split
from tests.losses import loops

OLD, NEW = ('background', 'a', 'b'), ('c', 'd')
SPLIT = Split(1, OLD, NEW, (), OLD, 'background')
WIDTH = torch.full((3, ), 6)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(seed=0, classes=(0, 3, 4, 255), size=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(classes)[torch.randint(len(classes), (2, size, size), generator=generator)]


def looped_weights(new, old, delta):
    """Similarities of one new class after another."""
    rows = []
    for n in new.tolist():
        cosines = []
        for k in old.tolist():
            norm = math.dist(n, [0] * len(n)) * math.dist(k, [0] * len(k))
            cosines.append(sum(a * b for a, b in zip(n, k)) / norm if norm else 0.)
        rows.append([s if s >= delta / len(old) else 0. for s in loops.softmax(cosines)])
    return torch.tensor(rows)


def looped_loss(student, teacher, target, weights, temperature):
    """The mean over pixels of new classes, one pixel after another."""
    total, number, num_old = 0., 0, teacher.shape[1]
    for n, i, j in loops.pixels(target):
        label = int(target[n, i, j])
        if not num_old <= label < num_old + len(weights):
            continue
        p = loops.softmax((student[n, :num_old, i, j] / temperature).tolist())
        q = loops.softmax((teacher[n, :, i, j] / temperature).tolist())
        total -= sum((q[k] * weights[label - num_old, k].item() + 1e-7) * math.log(p[k]) for k in range(num_old))
        number += 1
    return temperature**2 * total / max(number, 1)


@pytest.mark.parametrize('delta', [0., 1., 1.1])
def test_weights_against_loops(delta):
    new, old = random(2, 6), random(3, 6, seed=1)
    weights = similarity_weights(new, old, WIDTH, delta)
    torch.testing.assert_close(weights, looped_weights(new, old, delta), rtol=1e-5, atol=1e-6)
    if delta == 0:
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    else:
        assert (weights == 0).any()


def test_a_class_without_a_prototype_is_similar_to_all_alike():
    weights = similarity_weights(torch.zeros(1, 6), random(3, 6), WIDTH, 1.)
    torch.testing.assert_close(weights, torch.full((1, 3), 1 / 3))


def test_channels_that_an_old_prototype_has_not_are_left_out():
    new, old = random(2, 6), random(3, 6, seed=1)
    old[1, 4:] = 0
    weights = similarity_weights(new, old, torch.tensor([6, 4, 6]), 0.)
    cosines = torch.cosine_similarity(new[:, None], old[None], dim=2)
    cosines[:, 1] = torch.cosine_similarity(new[:, :4], old[1:2, :4], dim=1)
    torch.testing.assert_close(weights, cosines.softmax(dim=1))


@pytest.mark.parametrize('temperature', [1., 3.])
def test_loss_against_loops(temperature):
    student, teacher, target = 3 * random(2, 5, 4, 4), 3 * random(2, 3, 4, 4, seed=1), labels()
    weights = similarity_weights(random(2, 6), random(3, 6, seed=1), WIDTH, 1.)
    loss, mask = weighted_distillation(student, teacher, target, weights, temperature)
    assert torch.equal(mask, (target == 3) | (target == 4)) and (loss[~mask] == 0).all()
    assert loss[mask].mean().item() == pytest.approx(looped_loss(student, teacher, target, weights, temperature), rel=1e-5)


def batch_of(target, seed=0, requires_grad=True):
    batch = StepBatch(SPLIT, target, target)
    student = random(2, 5, 4, 4, seed=seed).requires_grad_(requires_grad)
    size = tuple(target.shape[1:])
    batch.student = Prediction(student, size, embedding=random(2, 6, 4, 4, seed=seed + 1))
    batch.teacher = Prediction(random(2, 3, 4, 4, seed=seed + 2), size)
    return batch


def part_with_prototypes(**options):
    part = ClassSimilarityWeightedKD(**options)
    channels = 6 if options.get('source') != 'logits' else 3
    part.load_previous(dict(prototypes=random(3, channels, seed=9), channels=torch.full((3, ), channels)))
    return part


@pytest.mark.parametrize('classes', [(0, ), (255, ), (0, 255), (1, 2)])
def test_without_a_pixel_of_a_new_class_the_loss_is_zero(classes):
    batch = batch_of(labels(classes=classes))
    loss = part_with_prototypes().loss(batch)
    loss.backward()
    assert loss.item() == 0 and (batch.student.head_logits.grad == 0).all()


@pytest.mark.parametrize('source', ['embedding', 'logits'])
def test_each_source_of_prototypes(source):
    """No gradient flows through prototypes: they are part of the target."""
    batch = batch_of(labels())
    batch.student.embedding.requires_grad_()
    loss = part_with_prototypes(source=source, delta=0.).loss(batch)
    loss.backward()
    assert loss.item() > 0 and batch.student.embedding.grad is None
    assert ClassSimilarityWeightedKD(source=source).needs == Needs(embedding=source == 'embedding', logits=True)


def test_average_over_every_pixel():
    """Of those, too, that pseudo labels have left out."""
    batch = batch_of(labels())
    taught = ((batch.target >= 3) & (batch.target != 255)).sum().item()
    new, every = (part_with_prototypes(every_pixel=switch).loss(batch).item() for switch in (False, True))
    assert 0 < taught < batch.target.numel() and (batch.target == 255).any()
    assert every == pytest.approx(new * taught / batch.target.numel(), rel=1e-5)


def test_threshold_of_the_released_code():
    """delta 0, as in the VOC scripts, keeps all old classes; delta 1 about half of them."""
    batch = batch_of(labels())
    assert part_with_prototypes(delta=0.).loss(batch) > part_with_prototypes(delta=1.).loss(batch) > 0


def step_batches(split, labels_of_batches, seed=0):
    for number, target in enumerate(labels_of_batches):
        batch = StepBatch(split, target, target)
        batch.student = Prediction(random(2, split.num_seen, 4, 4, seed=seed + number), (4, 4),
                                   embedding=random(2, 6, 4, 4, seed=seed + 50 + number))
        yield batch


@pytest.mark.parametrize('weighting', ['pixels', 'batches'])
def test_prototypes_of_a_step(weighting):
    """At label resolution a prototype is a plain mean; 'batches' is a mean of the batches' means."""
    first = Split(0, (), OLD, NEW, OLD, 'background')
    targets = [labels(classes=(0, 1, 2)), labels(seed=1, classes=(1, 255)), labels(seed=2, classes=(0, 2))]
    part = ClassSimilarityWeightedKD(weighting=weighting)
    part.after_step(first, step_batches(first, targets))
    for c in range(3):
        means, features = [], []
        for batch in step_batches(first, targets):
            found = batch.student.embedding.permute(0, 2, 3, 1)[batch.target == c]
            features.append(found)
            if len(found):
                means.append(found.mean(dim=0))
        expected = torch.cat(features).mean(dim=0) if weighting == 'pixels' else torch.stack(means).mean(dim=0)
        torch.testing.assert_close(part.prototypes[c], expected, rtol=1e-4, atol=1e-5)
    assert part.channels.tolist() == [6, 6, 6]


def test_old_prototypes_stay_and_new_ones_are_added():
    part = part_with_prototypes()
    before = part.prototypes.clone()
    part.after_step(SPLIT, step_batches(SPLIT, [labels(classes=(0, 3))]))
    assert torch.equal(part.prototypes[:3], before) and part.prototypes.shape == (5, 6)
    assert part.prototypes[3].any() and not part.prototypes[4].any()  # the second new class has no pixel
    again = ClassSimilarityWeightedKD()
    again.load_state_dict(part.state_dict())
    assert torch.equal(again.prototypes, part.prototypes)


def test_a_step_that_is_looked_at_twice_has_its_prototypes_once():
    """A run that was stopped behind the last look resumes with what it had found."""
    part = part_with_prototypes()
    part.after_step(SPLIT, step_batches(SPLIT, [labels()]))
    found = part.prototypes.clone()
    batch = batch_of(labels())
    expected = part_with_prototypes().loss(batch)
    assert torch.equal(part.loss(batch), expected)  # trained on by what older steps have left
    part.after_step(SPLIT, step_batches(SPLIT, [labels()]))
    assert torch.equal(part.prototypes, found) and len(part.channels) == 5


def test_large_classes_under_mixed_precision():
    """Sums over a class's pixels would overflow in float16."""
    target = torch.full((1, 512, 512), 3)
    student = dict(embedding=torch.rand(1, 6, 64, 64) + .5)
    losses = []
    for enabled in (False, True):
        batch = StepBatch(SPLIT, target, target)
        batch.student = Prediction(random(1, 5, 64, 64), (512, 512), **student)
        batch.teacher = Prediction(random(1, 3, 64, 64, seed=1), (512, 512))
        with torch.autocast('cpu', torch.float16, enabled=enabled):
            losses.append(part_with_prototypes(delta=0.).loss(batch).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-2) and losses[0] > .1


def test_prototypes_of_logits_get_wider_with_the_model():
    part = part_with_prototypes(source='logits')
    part.after_step(SPLIT, step_batches(SPLIT, [labels()]))
    assert part.prototypes.shape == (5, 5) and part.channels.tolist() == [3, 3, 3, 5, 5]
    assert not part.prototypes[:3, 3:].any()


def test_processes_share_their_sums(monkeypatch):
    """Two processes' prototypes are those of one, also where one of them has no image."""
    targets = [labels(), labels(seed=1), labels(seed=2)]
    alone, given = part_with_prototypes(), []
    alone.after_step(SPLIT, step_batches(SPLIT, targets))
    batches = list(step_batches(SPLIT, targets))
    for share in (batches[:1], batches[1:], []):
        monkeypatch.setattr('mmcss.losses.reminder.all_gather_object', lambda own: given.append(own) or [own, given[0]])
        part_with_prototypes().after_step(SPLIT, share)
    together = part_with_prototypes()
    monkeypatch.setattr('mmcss.losses.reminder.all_gather_object', lambda own: given)
    together.after_step(SPLIT, [])
    torch.testing.assert_close(together.prototypes, alone.prototypes)
