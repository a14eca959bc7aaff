import math

import pytest
import torch

from mmcss.models import SigmoidPseudoLabels
from mmcss.models.targets import sure_old_classes
from mmcss.parts import Needs, Prediction, StepBatch
from tests.losses import loops
from tests.models.makers import make_split

OLD, NEW = 4, 2
UNKNOWN = OLD + NEW
SPLIT = make_split(OLD, NEW)


def make_batch(logits, target, split=SPLIT):
    target = torch.as_tensor(target)
    return StepBatch(split, target, target, teacher=Prediction(logits, tuple(target.shape[1:])))


def random_logits(number=3, size=(4, 4), channels=OLD + 1, seed=0):
    return 3 * torch.randn(number, channels, *size, generator=torch.Generator().manual_seed(seed))


def random_target(values=(0, 4, 5, UNKNOWN, 255), number=3, size=(4, 4), seed=1):
    index = torch.randint(len(values), (number, *size), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(values)[index]


def completed(batch, **options):
    SigmoidPseudoLabels(**options).targets(batch)
    return batch.target


def by_hand(logits, target, threshold=.7, softmax=False, unknown=UNKNOWN):
    """Pixel by pixel, in float64."""
    scores, expected = loops.as_array(logits), target.clone()
    for n, i, j in loops.pixels(target):
        values = scores[n, :, i, j]
        best = int(values.argmax())
        score = loops.softmax(values)[best] if softmax else 1 / (1 + math.exp(-values[best]))
        if int(target[n, i, j]) in (0, unknown) and 1 <= best < OLD and score >= threshold:
            expected[n, i, j] = best
    return expected


def test_labels_of_the_authors_code():
    """There channel 0 is unknown, 1 background, and class d has channel d + 1; here after 15-1's step 0."""
    num_old, unknown = 16, 17

    def ours(value, unknown):
        return {0: unknown, 255: 255}.get(value, value - 1)

    target = [ours(value, unknown) for value in (0, 1, 1, 1, 0, 5, 255, 1, 17)]
    channel = [ours(value, num_old) for value in (3, 3, 0, 1, 4, 3, 3, 6, 3)]
    score = [.71, .69, .99, .99, .70, .99, .99, .70, .99]
    expected = [ours(value, unknown) for value in (3, 1, 1, 1, 4, 5, 255, 6, 17)]
    maps = (torch.tensor(values).view(1, 3, 3) for values in (target, channel, score))
    found = sure_old_classes(*maps, num_old, unknown, .7)
    assert found.flatten().tolist() == expected == [2, 0, 0, 0, 3, 4, 255, 5, 16]


@pytest.mark.parametrize('label, channel, score, expected', [
    (0, 2, .8, 2), (UNKNOWN, 2, .8, 2),  # a pseudo label comes before unknown and background
    (0, 2, .6, 0), (UNKNOWN, 2, .6, UNKNOWN),  # of the rest unknown comes before background
    (0, 0, .9, 0), (UNKNOWN, 0, .9, UNKNOWN), (0, OLD, .9, 0), (UNKNOWN, OLD, .9, UNKNOWN),
    (5, 2, .9, 5), (4, 2, .9, 4), (255, 2, .9, 255),  # labels stay
    (0, OLD - 1, .7, OLD - 1), (1, 2, .9, 1),  # and those of remembered images
])
def test_which_label_comes_first(label, channel, score, expected):
    values = (torch.full((1, 1, 1), value) for value in (label, channel, score))
    assert sure_old_classes(*values, OLD, UNKNOWN, .7).item() == expected


@pytest.mark.parametrize('softmax', [False, True])
@pytest.mark.parametrize('threshold', [.3, .7, .95])
def test_random_maps_by_hand(softmax, threshold):
    logits, target = random_logits(), random_target()
    found = completed(make_batch(logits, target), threshold=threshold, softmax=softmax)
    expected = by_hand(logits, target, threshold, softmax)
    assert found.dtype == torch.long and torch.equal(found, expected)
    assert 0 < (expected != target).sum() < ((target == 0) | (target == UNKNOWN)).sum()


def test_the_scores_are_sigmoids_unless_told_otherwise():
    """Two channels of the same height: a softmax is unsure of either."""
    logits = torch.tensor([-9., 4, 3.9, -9, -9]).view(1, OLD + 1, 1, 1)
    assert completed(make_batch(logits, torch.zeros(1, 1, 1).long())).item() == 1
    assert completed(make_batch(logits, torch.zeros(1, 1, 1).long()), softmax=True).item() == 0
    assert completed(make_batch(logits, torch.zeros(1, 1, 1).long()), softmax=True, threshold=.5).item() == 1


def test_a_softmax_is_taken_over_all_channels():
    """Unknown's too."""
    logits = torch.tensor([-9., 4, -9, -9, 3.9]).view(1, OLD + 1, 1, 1)
    assert completed(make_batch(logits, torch.zeros(1, 1, 1).long()), softmax=True).item() == 0
    assert completed(make_batch(logits[:, :OLD], torch.zeros(1, 1, 1).long()), softmax=True).item() == 1


def test_a_teacher_that_is_sure_of_unknown_or_background_changes_nothing():
    for channel in (0, OLD):
        logits = 9 * torch.eye(OLD + 1)[channel].view(1, OLD + 1, 1, 1).expand(3, -1, 4, 4) + .9
        assert torch.equal(completed(make_batch(logits, random_target())), random_target())


def test_a_teacher_without_an_unknown_channel():
    logits, target = random_logits(channels=OLD), random_target(values=(0, 4, 5, 255))
    found = completed(make_batch(logits, target))
    assert torch.equal(found, by_hand(logits, target)) and (found != target).any()


def test_logits_are_judged_at_the_resolution_of_labels():
    small = random_logits(size=(2, 2))
    large = torch.nn.functional.interpolate(small, (8, 8), mode='bilinear')
    target = random_target(size=(8, 8))
    found = completed(make_batch(small, target))
    assert torch.equal(found, by_hand(large, target)) and (found != target).any()


def test_logits_of_low_precision():
    logits, target = random_logits().bfloat16(), random_target()
    assert torch.equal(completed(make_batch(logits, target)), by_hand(logits.float(), target))


@pytest.mark.parametrize('values, changes', [
    ((255, ), False), ((4, 5, 255), False), ((UNKNOWN, 4, 255), True), ((0, UNKNOWN), True), ((0, ), True)],
    ids=['ignored only', 'neither background nor unknown', 'no background', 'no new class', 'background only'])
def test_edges(values, changes):
    logits, target = random_logits(), random_target(values=values)
    found = completed(make_batch(logits, target))
    assert torch.equal(found, by_hand(logits, target)) and (found != target).any() == changes


def test_the_labels_of_the_data_set_are_not_touched():
    batch = make_batch(random_logits(), random_target())
    found = completed(batch)
    assert found is not batch.raw_target and torch.equal(batch.raw_target, random_target())
    assert batch.pixel_weight is None


def test_what_it_needs():
    part = SigmoidPseudoLabels()
    assert part.needs == Needs(logits=True) and not part.from_first_step
    assert (part.threshold, part.softmax, part.loss(None), part.state_dict()) == (.7, False, None, {})
