import math

import pytest
import torch
import torch.nn.functional as F

from mmcss.losses.sats import AttentionTransfer, attention_distance, region_means, rows_of_cells
from mmcss.losses.sdr import nearest_labels
from mmcss.parts import Attention, Needs, Prediction, StepBatch
from mmcss.scenario import Split

OLD, NEW = ('background', 'a', 'b'), ('c', 'd')
SPLIT = Split(1, OLD, NEW, (), OLD, 'background')
CLASSES = range(1, 5)


def rows(*shape, seed=0):
    """Rows of attention: each sums to 1."""
    return (2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).softmax(dim=-1)


def labels(*shape, seed=0, classes=(0, 1, 2, 3, 4, 255)):
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(classes)[torch.randint(len(classes), shape, generator=generator)]


def norm(values, squared):
    total = math.fsum(value**2 for value in values)
    return total if squared else math.sqrt(total)


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else 0.


def looped(student, teacher, cells, squared=False, layout='permute', pooling='class'):
    """One image, class, head and key after another; ``[N, heads, L, S]`` and ``[N, L]``."""
    student, teacher, cells = student.double().numpy(), teacher.double().numpy(), cells.numpy()
    number, heads, length, keys = student.shape

    def row(attention, n, h, cell):
        if layout == 'permute':
            return attention[n, h, cell]
        place = cell * heads + h  # in the list of all rows, head by head
        return attention[n, place // length, place % length]

    def pooled(attention, n, h, where):
        return [mean(row(attention, n, h, cell)[s] for cell in where) for s in range(keys)]

    images = []
    for n in range(number):
        present = sorted({int(label) for label in cells[n]} - {0, 255})
        regions = {'class': [[i for i in range(length) if cells[n, i] == c] for c in present],
                   'global': [list(range(length))], 'none': [[i] for i in range(length)]}[pooling]
        images.append(mean(
            mean(norm([a - b for a, b in zip(pooled(student, n, h, where), pooled(teacher, n, h, where))], squared)
                 for h in range(heads)) for where in regions))
    return mean(images)


@pytest.mark.parametrize('pooling', ['class', 'global', 'none'])
@pytest.mark.parametrize('layout', ['permute', 'reshape'])
@pytest.mark.parametrize('squared', [False, True])
def test_distance_against_loops(squared, layout, pooling):
    student, teacher, cells = rows(3, 2, 16, 5), rows(3, 2, 16, 5, seed=1), labels(3, 16)
    cells[1] = torch.tensor([0, 255] * 8)  # an image without a class
    found = attention_distance(student, teacher, cells, CLASSES, squared, layout, pooling)
    assert found.item() == pytest.approx(looped(student, teacher, cells, squared, layout, pooling), rel=1e-5)
    others = [looped(student, teacher, cells, *switches) for switches in (
        (not squared, layout, pooling), (squared, layout, 'none' if pooling == 'global' else 'global'))]
    assert all(other != pytest.approx(found.item(), rel=1e-3) for other in others)


def test_layouts():
    """The reshaped rows of stages with several heads are other cells'; one head has no slip."""
    weights = rows(2, 2, 4, 3)
    assert torch.equal(rows_of_cells(weights)[1, 3, 0], weights[1, 0, 3])
    slip = rows_of_cells(weights, 'reshape')
    assert slip.shape == rows_of_cells(weights).shape == (2, 4, 2, 3)
    assert torch.equal(slip[1, 3, 0], weights[1, 1, 2])  # row 3 * 2 + 0 of the list
    assert torch.equal(rows_of_cells(weights[:, :1], 'reshape'), rows_of_cells(weights[:, :1]))


def test_means_of_regions():
    values = torch.arange(8.).view(1, 4, 1, 2)
    means, present = region_means(values, torch.tensor([[2., 255., 2., 0.]]), range(1, 4))
    assert means[0, :, 0].tolist() == [[0, 0], [2, 3], [0, 0]] and present.tolist() == [[False, True, False]]


@pytest.mark.parametrize('size, grid', [
    ((16, 16), (4, 4)), ((48, 80), (12, 20)), ((48, 80), (2, 3)), ((10, 6), (4, 4))])
def test_labels_of_cells_stand_at_their_centres(size, grid):
    target = labels(2, *size)
    expected = torch.stack([target[:, (2 * i + 1) * size[0] // (2 * grid[0]), (2 * j + 1) * size[1] // (2 * grid[1])]
                            for i in range(grid[0]) for j in range(grid[1])], dim=1)
    assert torch.equal(nearest_labels(target, grid).flatten(1), expected)
    if size == (16, 16):  # not the corners, which plain nearest takes
        assert not torch.equal(nearest_labels(target, grid), F.interpolate(target[:, None].float(), grid)[:, 0].long())


GRIDS = (((12, 20), 1), ((6, 10), 2), ((3, 5), 5), ((2, 3), 8))


def attention_of(number, seed=0, grids=GRIDS, keys=4):
    return tuple(Attention(rows(number, heads, h * w, keys, seed=seed + s), (h, w))
                 for s, ((h, w), heads) in enumerate(grids))


def make_batch(target, grids=GRIDS, split=SPLIT):
    """A batch whose student's attention takes gradients."""
    batch = StepBatch(split, target, target)
    size = tuple(target.shape[1:])
    batch.student, batch.teacher = (
        Prediction(torch.zeros(len(target), c, 2, 2), size, attention=attention_of(len(target), seed, grids))
        for c, seed in ((split.num_seen, 0), (split.num_old, 50)))
    for one in batch.student.attention:
        one.weights.requires_grad_()
    return batch


def terms(batch, **switches):
    return [looped(new.weights.detach(), old.weights, nearest_labels(batch.target, new.grid).flatten(1), **switches)
            for new, old in zip(batch.student.attention, batch.teacher.attention)]


@pytest.mark.parametrize('number', [1, 2])
def test_loss_of_a_batch_that_is_not_square(number):
    """Stages, and images, count alike."""
    batch = make_batch(labels(number, 48, 80))
    part = AttentionTransfer()
    assert part.needs == Needs(attention=True)
    loss = part.loss(batch)
    assert loss.item() == pytest.approx(20 * mean(terms(batch)), rel=1e-5)
    loss.backward()
    assert all(one.weights.grad.any() for one in batch.student.attention)
    assert all(one.weights.grad is None for one in batch.teacher.attention)


def test_the_completed_labels_count():
    """Pseudo labels of old classes have regions, too."""
    batch = make_batch(labels(2, 48, 80, classes=(0, 3)))
    new_alone = AttentionTransfer(1.).loss(batch).item()
    batch.target = torch.where(batch.raw_target == 0, 2, batch.raw_target)
    completed = AttentionTransfer(1.).loss(batch).item()
    assert completed == pytest.approx(mean(terms(batch)), rel=1e-5) and completed != pytest.approx(new_alone, rel=1e-3)


@pytest.mark.parametrize('classes', [(255, ), (0, ), (0, 255)])
def test_without_a_class_the_loss_is_zero(classes):
    batch = make_batch(labels(2, 48, 80, classes=classes))
    loss = AttentionTransfer().loss(batch)
    loss.backward()
    assert loss.item() == 0
    assert all((one.weights.grad == 0).all() for one in batch.student.attention)
    other = make_batch(batch.target)
    assert all(AttentionTransfer(pooling=pooling).loss(other) > 0 for pooling in ('global', 'none'))


def test_where_both_agree_gradients_are_zero():
    """A norm's own gradient at 0 is none."""
    batch = make_batch(labels(2, 48, 80))
    batch.teacher.attention = tuple(
        Attention(one.weights.detach().clone(), one.grid) for one in batch.student.attention)
    for options in ({}, dict(pooling='global'), dict(pooling='none'), dict(squared=True)):
        loss = AttentionTransfer(**options).loss(batch)
        loss.backward()
        assert loss.item() == 0
    assert all((one.weights.grad == 0).all() for one in batch.student.attention)


def test_a_class_that_vanishes_at_a_coarse_stage():
    """It counts at the finer ones alone, and does not thin the others' mean."""
    target = torch.full((1, 16, 16), 1)
    target[0, 2, 2] = 4  # the centre of the first of 4 x 4 cells, not of 2 x 2
    grids = (((4, 4), 1), ((2, 2), 2))
    assert [bool((nearest_labels(target, grid) == 4).any()) for grid, _ in grids] == [True, False]
    batch = make_batch(target, grids)
    assert AttentionTransfer(1.).loss(batch).item() == pytest.approx(mean(terms(batch)), rel=1e-5)
    without = make_batch(torch.ones_like(target), grids)
    assert terms(batch)[1] == terms(without)[1] and terms(batch)[0] != terms(without)[0]


@pytest.mark.parametrize('stages, chosen', [(None, [0, 1, 2, 3]), ([4], [3]), ([2, 3], [1, 2])])
def test_stages(stages, chosen):
    batch = make_batch(labels(2, 48, 80))
    loss = AttentionTransfer(1., stages=stages).loss(batch)
    assert loss.item() == pytest.approx(mean(terms(batch)[s] for s in chosen), rel=1e-5)


@pytest.mark.parametrize('options', [dict(squared=True), dict(layout='reshape'), dict(pooling='global'),
                                     dict(pooling='none'), dict(loss_weight=3.)])
def test_switches_of_the_part(options):
    batch = make_batch(labels(2, 48, 80))
    switches = {key: value for key, value in options.items() if key != 'loss_weight'}
    found, plain = AttentionTransfer(**options).loss(batch).item(), AttentionTransfer().loss(batch).item()
    assert found == pytest.approx(options.get('loss_weight', 20.) * mean(terms(batch, **switches)), rel=1e-5)
    assert found != pytest.approx(plain, rel=1e-3)


def test_without_a_background_class_zero_is_one():
    split = Split(1, ('a', 'b'), ('c', ), (), ('a', 'b'), None)
    batch = make_batch(labels(2, 48, 80, classes=(0, )), split=split)
    assert AttentionTransfer(1.).loss(batch).item() == pytest.approx(
        AttentionTransfer(1., pooling='global').loss(batch).item(), rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_under_autocast_sums_are_in_full_precision(dtype):
    batch, plain = make_batch(labels(2, 48, 80)), make_batch(labels(2, 48, 80))
    for one in (batch, plain):
        for prediction in (one.student, one.teacher):
            prediction.attention = tuple(Attention(a.weights.detach().to(dtype), a.grid) for a in prediction.attention)
    expected = AttentionTransfer().loss(plain)
    with torch.autocast('cpu', torch.bfloat16):
        found = AttentionTransfer().loss(batch)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_a_stage_that_the_backbone_has_not():
    with pytest.raises(ValueError, match=r'stages: got \[4, 5\], but this backbone has 4'):
        AttentionTransfer(stages=[4, 5]).loss(make_batch(labels(1, 48, 80)))
