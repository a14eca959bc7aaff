import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmcss.losses import LocalPOD, fold_new_into_background, local_pod, pooled_strips
from mmcss.parts import Prediction, StepBatch
from mmcss.scenario import Split
from tests.losses import loops

DIVISIBLE = [(8, 8), (16, 8), (4, 12)]
OTHERS = [(7, 10), (9, 9), (10, 6), (8, 10), (5, 16), (6, 6)]
SCALES = [(1, 2, 4), (1, 2, 3), (4, ), (1, )]


def random(*shape, seed=0, scale=1.):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def expect_strips(size, scales, remainder):
    x = random(2, 3, *size)
    found = pooled_strips(x, scales, remainder)
    expected = [strip for scale in sorted(scales, reverse=True)
                for strip in loops.strips(loops.as_array(x), scale, remainder)]
    assert len(found) == len(expected) == 2 * len(scales)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    return found


@pytest.mark.parametrize('size', DIVISIBLE)
@pytest.mark.parametrize('scales', [(1, 2, 4), (4, 2), (1, )])
def test_sizes_that_divide(size, scales):
    shared, dropped = expect_strips(size, scales, 'share'), expect_strips(size, scales, 'drop')
    assert all(torch.equal(one, other) for one, other in zip(shared, dropped))


@pytest.mark.parametrize('size', OTHERS)
@pytest.mark.parametrize('scales', SCALES)
@pytest.mark.parametrize('remainder', ['share', 'drop'])
def test_sizes_that_do_not_divide(size, scales, remainder):
    expect_strips(size, scales, remainder)


@pytest.mark.parametrize('size', [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_maps_smaller_than_the_scale_are_shared(size):
    height, width = size
    found = expect_strips(size, (1, 2, 4), 'share')
    assert [tuple(strip.shape[2:]) for strip in found] == [
        (height, 4), (4, width), (height, 2), (2, width), (height, 1), (1, width)]


@pytest.mark.parametrize('size', [(1, 1), (3, 8), (8, 3), (1, 3)])
def test_maps_smaller_than_the_scale_can_not_be_dropped(size):
    with pytest.raises(ValueError, match=f'{size[0]} x {size[1]} has no 4 x 4 .*share'):
        pooled_strips(random(1, 2, *size), (1, 2, 4), 'drop')


@pytest.mark.parametrize('size, calls', [((8, 8), 0), ((16, 4), 0), ((10, 10), 2), ((9, 9), 4)])
def test_only_sizes_that_do_not_divide_are_pooled_adaptively(size, calls, monkeypatch):
    pool, counted = F.adaptive_avg_pool2d, []
    monkeypatch.setattr(F, 'adaptive_avg_pool2d', lambda *args: counted.append(args) or pool(*args))
    assert len(pooled_strips(random(1, 2, *size))) == 6
    assert len(counted) == calls


class CountOperations(TorchDispatchMode):
    """Counts what reaches the kernels."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


def operations(scales, size=32):
    with CountOperations() as counter:
        pooled_strips(torch.ones(1, 1, size, size), scales)
    return counter.number


def test_work_does_not_grow_with_the_number_of_regions():
    assert operations((2, )) == operations((16, ))
    assert operations((1, 2, 4)) == operations((1, 8, 32))


def test_coarse_scales_do_not_read_the_map_again():
    """The finest scale reads the map twice; the others only its strips."""
    x = torch.ones(1, 1, 32, 32)

    class CountReads(CountOperations):

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            self.number += 'mean' in str(function) and args[0].numel() == x.numel()
            return result

    with CountReads() as counter:
        pooled_strips(x, (1, 2, 4))
    assert counter.number == 2


@pytest.mark.parametrize('size', [(8, 8), (6, 10), (1, 3)])
@pytest.mark.parametrize('scales', [(1, 2, 4), (2, )])
def test_distance(size, scales):
    student, teacher = random(3, 5, *size), random(3, 5, *size, seed=1)
    assert local_pod(student, teacher, scales).item() == pytest.approx(loops.pod(student, teacher, scales), rel=1e-5)


def test_distance_that_drops():
    student, teacher = random(2, 3, 10, 7), random(2, 3, 10, 7, seed=1)
    expected = loops.pod(student, teacher, (1, 2, 4), 'drop')
    assert local_pod(student, teacher, remainder='drop').item() == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(loops.pod(student, teacher, (1, 2, 4), 'share'), rel=1e-2)


def test_gradient_is_that_of_the_distance():
    """Central differences in float64 arithmetic of the loop."""
    student, teacher = random(2, 2, 3, 4).requires_grad_(), random(2, 2, 3, 4, seed=1)
    local_pod(student, teacher).backward()
    for index in [(0, 0, 0, 0), (0, 1, 2, 3), (1, 0, 1, 2), (1, 1, 2, 0)]:
        shifted = [student.detach().double().clone() for _ in range(2)]
        shifted[0][index] += 1e-5
        shifted[1][index] -= 1e-5
        slope = (loops.pod(shifted[0], teacher) - loops.pod(shifted[1], teacher)) / 2e-5
        assert student.grad[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_gradient_where_student_equals_teacher():
    teacher = random(2, 3, 8, 8)
    student = teacher.clone().requires_grad_()
    loss = local_pod(student, teacher)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(teacher))


def test_gradient_where_only_one_image_equals_the_teachers():
    teacher = random(2, 3, 8, 8)
    student = torch.stack((teacher[0], teacher[1] + 1)).requires_grad_()
    loss = local_pod(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(loops.pod(student[1:], teacher[1:]) / 2, rel=1e-5)
    assert torch.equal(student.grad[0], torch.zeros_like(teacher[0]))
    assert student.grad[1].isfinite().all() and student.grad[1].abs().sum() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_squared_in_float32(dtype):
    student, teacher = random(2, 3, 8, 8, scale=500).to(dtype), random(2, 3, 8, 8, seed=1, scale=500).to(dtype)
    assert dtype != torch.float16 or student.square().isinf().any()  # the square of float16 would overflow
    loss = local_pod(student, teacher)
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert torch.equal(loss, local_pod(student.float(), teacher.float()))


@pytest.mark.parametrize('fold, expected', [
    ('logsumexp', lambda a, b, c: math.log(math.exp(a) + math.exp(b) + math.exp(c))),
    ('sum', lambda a, b, c: a + b + c),
    ('trim', lambda a, b, c: a),
])
def test_new_logits_are_folded_into_background(fold, expected):
    logits = random(2, 6, 2, 3)
    folded = fold_new_into_background(logits, 4, fold)
    assert folded.shape == (2, 4, 2, 3)
    for n, i, j in loops.pixels(logits):
        pixel = logits[n, :, i, j].tolist()
        assert folded[n, 0, i, j].item() == pytest.approx(expected(pixel[0], pixel[4], pixel[5]), abs=1e-6)
    assert torch.equal(folded[:, 1:], logits[:, 1:4])


def test_a_balanced_start_folds_back_to_the_teacher():
    """With 'logsumexp'; with the released code's 'sum' it starts away from it."""
    teacher = random(2, 4, 3, 3)
    start = torch.cat((teacher[:, :1] - math.log(3), teacher[:, 1:], *[teacher[:, :1] - math.log(3)] * 2), dim=1)
    torch.testing.assert_close(fold_new_into_background(start, 4), teacher)
    assert (fold_new_into_background(start, 4, 'sum') - teacher).abs().max() > .5


def test_squared_norm():
    student, teacher = random(2, 3, 8, 8), random(2, 3, 8, 8, seed=1)
    each = [loops.pod(student[n:n + 1], teacher[n:n + 1]) for n in range(2)]
    assert local_pod(student, teacher).item() == pytest.approx(sum(each) / 2, rel=1e-5)
    assert local_pod(student, teacher, squared=True).item() == pytest.approx(sum(x**2 for x in each) / 2, rel=1e-5)


@pytest.mark.parametrize('num_old, num_new', [(3, 2), (4, 1), (1, 5)])
def test_part(num_old, num_new):
    """Two stages of other sizes, the embedding and the logits, with their factors."""
    shapes = [(2, 4, 8, 8), (2, 6, 4, 6), (2, 5, 3, 5)]
    new = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    old = [random(*shape, seed=10 + i) for i, shape in enumerate(shapes)]
    new_logits, old_logits = random(2, num_old + num_new, 3, 5, seed=20), random(2, num_old, 3, 5, seed=21)
    names = tuple(f'c{i}' for i in range(num_old + num_new))
    target = torch.zeros(2, 12, 20, dtype=torch.long)
    batch = StepBatch(Split(1, names[:num_old], names[num_old:], (), names[:num_old], 'c0'), target, target)
    batch.student = Prediction(new_logits, (12, 20), stages=tuple(new[:2]), embedding=new[2])
    batch.teacher = Prediction(old_logits, (12, 20), stages=tuple(old[:2]), embedding=old[2])

    folded = new_logits[:, :num_old].clone()
    folded[:, 0] = torch.cat((new_logits[:, :1], new_logits[:, num_old:]), dim=1).exp().sum(dim=1).log()
    layers = [.02 * loops.pod(a, b, (1, 2)) for a, b in zip(new, old)] + [.3 * loops.pod(folded, old_logits, (1, 2))]
    expected = math.sqrt((num_old + num_new) / num_new) * sum(layers) / 4
    part = LocalPOD(loss_weight=.02, logits_weight=.3, scales=(1, 2))
    assert part.loss(batch).item() == pytest.approx(expected, rel=1e-5)
    assert part.needs.stages and part.needs.embedding and not part.needs.logits
