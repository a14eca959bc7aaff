import math

import numpy as np
import pytest
import torch
import torch.distributed as dist

from mmcss.losses.entropy import entropy_and_class
from mmcss.models import EntropyPseudoLabels
from mmcss.models.targets import accepted_share
from mmcss.parts import Needs, Prediction, StepBatch
from tests.losses import loops
from tests.models.makers import make_split
from tests.processes import spawn

OLD, NEW = 4, 2
SPLIT = make_split(OLD, NEW)


def make_batch(logits, target):
    target = torch.as_tensor(target)
    return StepBatch(SPLIT, target, target, teacher=Prediction(logits, tuple(target.shape[1:])))


def random_batch(seed, number=2, size=(9, 7)):
    """Every kind of label, and a teacher that is sure of some pixels; it never predicts class 3."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(number, OLD, *size, generator=generator)
    logits *= 4 * torch.rand(number, 1, *size, generator=generator)
    logits[:, 3] = -20
    target = torch.tensor([0, 0, 0, 4, 5, 255])[torch.randint(6, (number, *size), generator=generator)]
    return make_batch(logits, target)


def joined(batches):
    return make_batch(torch.cat([batch.teacher.head_logits for batch in batches]),
                      torch.cat([batch.raw_target for batch in batches]))


def thresholds_of(*batches, **settings):
    part = EntropyPseudoLabels(**settings)
    part.before_step(SPLIT, iter(batches))
    return part.thresholds[0]


def part_with(thresholds, **settings):
    part = EntropyPseudoLabels(**settings)
    part.load_state_dict({'thresholds': torch.as_tensor(thresholds, dtype=torch.float32)[None]})
    return part


def completed(part, batch):
    part.targets(batch)
    return batch


def pixel(entropy_share, predicted=1):
    """Logits of one pixel; with 0 the teacher is sure, with 1 all but without an idea."""
    return 12 * (1 - entropy_share) * torch.eye(OLD)[predicted] + 1e-3 * torch.eye(OLD)[predicted]


def test_thresholds_are_medians_of_background_pixels_per_predicted_class():
    batches = [random_batch(seed) for seed in range(3)]
    whole = joined(batches)
    entropy, logits = loops.entropy(whole.teacher.head_logits), whole.teacher.head_logits.numpy()
    values = {c: [] for c in range(OLD)}
    for n, i, j in loops.pixels(entropy):
        if whole.raw_target[n, i, j] == 0:
            values[int(logits[n, :, i, j].argmax())].append(entropy[n, i, j])
    found = thresholds_of(*batches, floor=0.).tolist()
    for c in range(3):
        assert len(values[c]) > 20
        median = sorted(values[c])[(len(values[c]) - 1) // 2]
        assert median * (1 - 2.**-12 - 1e-5) <= found[c] <= median * (1 + 1e-5)
    assert values[3] == [] and found[3] == 0


def test_thresholds_come_from_labels_at_their_resolution():
    batch = random_batch(0)
    small = torch.randn(2, OLD, 3, 3, generator=torch.Generator().manual_seed(5))
    large = torch.nn.functional.interpolate(small, (9, 7), mode='bilinear')
    expected = thresholds_of(make_batch(large, batch.raw_target))
    assert torch.equal(thresholds_of(make_batch(small, batch.raw_target)), expected)


def test_thresholds_of_batches_are_those_of_all_images():
    batches = [random_batch(seed) for seed in range(4)]
    assert torch.equal(thresholds_of(*batches), thresholds_of(joined(batches)))
    assert torch.equal(thresholds_of(*batches), thresholds_of(*batches[::-1]))
    assert not torch.equal(thresholds_of(*batches), thresholds_of(*batches[:2]))


def test_completed_labels_do_not_move_thresholds():
    """They are of the labels as the data set gives them."""
    batch = random_batch(0)
    expected = thresholds_of(random_batch(0))
    batch.target = torch.zeros_like(batch.target)
    assert torch.equal(thresholds_of(batch), expected)


@pytest.mark.parametrize('floor', [1e-3, .2, 2.])
def test_floor(floor):
    exact, raised = thresholds_of(random_batch(0), floor=0.), thresholds_of(random_batch(0), floor=floor)
    assert torch.equal(raised, torch.where(exact < floor, torch.tensor(floor), exact))
    assert raised[3] == torch.tensor(floor)


def test_without_an_image_all_thresholds_are_the_floor():
    assert torch.equal(thresholds_of(floor=.01), torch.full((OLD, ), .01))


def test_floor_lets_certain_pixels_through():
    """All pixels of a class equally sure: none lies below their median."""
    logits = pixel(0.)[None, :, None, None].expand(1, OLD, 2, 2)
    part = EntropyPseudoLabels()
    part.before_step(SPLIT, [make_batch(logits, torch.zeros(1, 2, 2, dtype=torch.long))])
    assert part.thresholds[0, 1] == torch.tensor(1e-3)
    batch = completed(part, make_batch(logits, torch.zeros(1, 2, 2, dtype=torch.long)))
    assert (batch.target == 1).all()
    assert (completed(part_with([0.] * OLD), make_batch(logits, batch.raw_target)).target == 255).all()


def test_only_entropies_strictly_below_are_accepted():
    logits = pixel(.7, predicted=2)[None, :, None, None]
    entropy = entropy_and_class(logits)[0].item()
    assert .1 < entropy < math.log(OLD)
    above = np.nextafter(np.float32(entropy), np.float32(9))
    for threshold, expected in ((entropy, 255), (above, 2), (0., 255)):
        batch = completed(part_with([9., 9, threshold, 9]), make_batch(logits, [[[0]]]))
        assert batch.target.item() == expected


def test_each_class_has_its_own_threshold():
    logits = torch.stack([pixel(.7, predicted=c) for c in range(OLD)], dim=1)[None, :, None]
    entropy = entropy_and_class(logits)[0][0, 0]
    thresholds = entropy + torch.tensor([.1, -.1, .1, -.1])
    batch = completed(part_with(thresholds), make_batch(logits, [[[0, 0, 0, 0]]]))
    assert batch.target.tolist() == [[[0, 255, 2, 255]]]


def test_every_pixel_and_share_of_a_batch():
    batch = random_batch(7, number=3)
    batch.raw_target[2][batch.raw_target[2] == 0] = 255
    raw, thresholds = batch.raw_target.clone(), [.9, .5, .7, .1]
    entropy, logits = loops.entropy(batch.teacher.head_logits), batch.teacher.head_logits.numpy()
    completed(part_with(thresholds), batch)
    accepted, background = np.zeros(3, int), np.zeros(3, int)
    for n, i, j in loops.pixels(entropy):
        expected = label = int(raw[n, i, j])
        if label == 0:
            predicted = int(logits[n, :, i, j].argmax())
            sure = entropy[n, i, j] < thresholds[predicted]
            expected = predicted if sure else 255
            accepted[n] += sure
            background[n] += 1
        assert batch.target[n, i, j] == expected
    assert 0 < accepted[0] < background[0] and 0 < accepted[1] < background[1] and background[2] == 0
    assert (set(batch.target.unique().tolist()) == {0, 1, 2, 4, 5, 255})
    assert torch.equal(batch.raw_target, raw)
    assert batch.pixel_weight.shape == (3, 1, 1) and batch.pixel_weight.dtype == torch.float32
    for n in range(2):
        assert batch.pixel_weight[n].item() == np.float32(accepted[n]) / np.float32(background[n])
    assert batch.pixel_weight[2].item() == 1


@pytest.mark.parametrize('threshold, share', [(0., 0.), (9., 1.)])
def test_all_or_none_accepted(threshold, share):
    batch = random_batch(0)
    completed(part_with([threshold] * OLD), batch)
    assert batch.pixel_weight.flatten().tolist() == [share, share]
    background = batch.raw_target == 0
    expected = entropy_and_class(batch.teacher.logits)[1] if share else torch.full_like(batch.target, 255)
    assert torch.equal(batch.target[background], expected[background])
    assert torch.equal(batch.target[~background], batch.raw_target[~background])


@pytest.mark.parametrize('label', [4, 255])
def test_an_image_without_background(label):
    target = torch.full((1, 9, 7), label)
    batch = completed(part_with([9.] * OLD), make_batch(random_batch(0).teacher.head_logits[:1], target))
    assert torch.equal(batch.target, target)
    assert batch.pixel_weight.item() == 1


def test_nu_of_an_image_without_background():
    target = torch.full((1, 9, 7), 4)
    batch = completed(part_with([9.] * OLD, nu_without_background=0.), make_batch(random_batch(0).teacher.head_logits[:1], target))
    assert batch.pixel_weight.item() == 0


def test_a_median_in_no_bin_of_the_released_code():
    """Half of more pixels than the numbers of all bins add up to, with less than half in each bin: PLOP's infinity."""
    logits = torch.randn(1, OLD, 200, 200, generator=torch.Generator().manual_seed(0))
    logits[:, 1] += 3
    code = dict(measure='code', estimator='histogram')
    batch = make_batch(logits, torch.zeros(1, 200, 200, dtype=torch.long))
    assert thresholds_of(batch, **code)[1].item() == math.inf
    replaced = thresholds_of(batch, **code, infinite=.005)
    assert replaced[1].item() == pytest.approx(.005) and not replaced.isinf().any()
    shares = []
    for infinite in (None, .005):
        again, thresholds = make_batch(logits, batch.raw_target), thresholds_of(batch, **code, infinite=infinite)
        shares.append(completed(part_with(thresholds, measure='code'), again).pixel_weight.item())
    assert shares[0] > .9 and 0 < shares[1] < .1
    assert thresholds_of(batch, **code, infinite=.005, floor=.1)[1].item() == pytest.approx(.1)


def test_measure_of_the_released_code():
    batch = random_batch(0)
    plain, predicted = EntropyPseudoLabels().uncertainty_and_class(batch)
    code, same = EntropyPseudoLabels('code').uncertainty_and_class(batch)
    assert torch.equal(predicted, same)
    torch.testing.assert_close(code, plain / (OLD * math.log(OLD) * math.log(OLD + NEW)))
    torch.testing.assert_close(thresholds_of(batch, measure='code', floor=0.),
                               thresholds_of(batch, floor=0.) / (OLD * math.log(OLD) * math.log(OLD + NEW)),
                               rtol=2.**-11, atol=0)


def test_estimators_differ_where_the_coarse_one_leaves_its_first_bin():
    found = [thresholds_of(random_batch(0), estimator=name, floor=0.) for name in ('median', 'histogram')]
    assert (found[0] - found[1]).abs().max() > .1


def test_without_filter_every_pixel_is_accepted():
    part, batch = EntropyPseudoLabels(filter=False), random_batch(0)
    part.before_step(SPLIT, [])
    completed(part, batch)
    background = batch.raw_target == 0
    assert torch.equal(batch.target[background], entropy_and_class(batch.teacher.logits)[1][background])
    assert batch.pixel_weight.flatten().tolist() == [1, 1]


def test_thresholds_of_true_background_ask_for_its_labels():
    assert EntropyPseudoLabels(true_background=True).needs == Needs(logits=True, view=dict(ignore_others=True))
    assert EntropyPseudoLabels().needs == Needs(logits=True)


def test_without_the_adaptive_factor():
    batch, other = random_batch(0), random_batch(0)
    completed(part_with([.5] * OLD, adaptive_factor=False), batch)
    completed(part_with([.5] * OLD), other)
    assert batch.pixel_weight is None and other.pixel_weight is not None
    assert torch.equal(batch.target, other.target)


def test_low_precision_logits():
    batch = random_batch(0)
    batch.teacher.head_logits = batch.teacher.head_logits.bfloat16()
    thresholds = thresholds_of(batch)
    exact = random_batch(0)
    exact.teacher.head_logits = batch.teacher.head_logits.float()
    assert torch.equal(thresholds, thresholds_of(exact))
    assert torch.equal(completed(part_with(thresholds), batch).target, completed(part_with(thresholds), exact).target)


def test_state_goes_round():
    part = EntropyPseudoLabels()
    part.before_step(SPLIT, [random_batch(0)])
    state = part.state_dict()
    assert list(state) == ['thresholds'] and state['thresholds'].shape == (1, OLD)
    other = EntropyPseudoLabels()
    other.load_state_dict({key: value.clone() for key, value in state.items()})
    assert torch.equal(other.state_dict()['thresholds'], state['thresholds'])
    assert torch.equal(completed(other, random_batch(1)).target, completed(part, random_batch(1)).target)


@pytest.mark.parametrize('accepted, candidates, share', [
    ([1, 0, 0, 0], [1, 1, 1, 0], np.float32(1) / np.float32(3)), ([0, 0, 0, 0], [1, 0, 0, 0], 0.),
    ([1, 1, 1, 1], [1, 1, 1, 1], 1.), ([0, 0, 0, 0], [0, 0, 0, 0], 1.)])
def test_accepted_share(accepted, candidates, share):
    maps = [torch.tensor(values, dtype=torch.bool).view(1, 2, 2) for values in (accepted, candidates)]
    assert accepted_share(*maps).item() == share


SHARES = [([0], [1, 2, 3]), ([], [0, 1, 2, 3])]


def one_process(rank, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    found = [thresholds_of(*(random_batch(seed) for seed in shares[rank])) for shares in SHARES]
    own = EntropyPseudoLabels(over_processes=False)
    own.before_step(SPLIT, [random_batch(rank)])
    resumed = EntropyPseudoLabels(over_processes=False)
    resumed.load_state_dict(own.state_dict())
    torch.save((found, own.state_dict()['thresholds'], completed(resumed, random_batch(5)).target), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_thresholds_of_two_processes_are_those_of_one(tmp_path):
    spawn(one_process, str(tmp_path))
    expected = thresholds_of(*(random_batch(seed) for seed in range(4)))
    assert not torch.equal(expected, thresholds_of(random_batch(0)))
    for rank in range(2):
        shared, own, target = torch.load(tmp_path / f'{rank}.pt')
        for found in shared:
            assert torch.equal(found, expected)
        # Thresholds of each process: kept for all, each uses its own.
        each = [thresholds_of(random_batch(seed)) for seed in range(2)]
        assert torch.equal(own, torch.stack(each)) and not torch.equal(*each)
        assert torch.equal(target, completed(part_with(each[rank]), random_batch(5)).target)
