import pytest
import torch
import torch.distributed as dist

from mmcss.losses.sdr_part import LatentShaping, predicted_classes
from mmcss.losses.sdr import attraction, error_sums, nearest_labels, prototype_matching, repulsion, sparsity
from mmcss.parts import Needs, Prediction, StepBatch
from mmcss.scenario import Split
from tests.losses.test_sdr import labels, mean_vector, random, vectors
from tests.processes import spawn

FIRST = Split(0, (), ('background', 'a', 'b'), ('c', 'd'), ('background', 'a', 'b'), 'background')
SECOND = Split(1, ('background', 'a', 'b'), ('c', 'd'), (), ('background', 'a', 'b'), 'background')
OFF = dict(matching=0., attraction=0., repulsion=0., sparsity=0.)
GRID = (4, 3)


def batch_of(split, target, seed=0, size=GRID):
    """A batch whose labels are coarser ones, enlarged to ``size``."""
    target = nearest_labels(target, size)
    batch = StepBatch(split, target, target)
    body = random(2, 6, *GRID, seed=seed).abs().requires_grad_()
    batch.student = Prediction(random(2, split.num_seen, *GRID, seed=seed + 1), size, backbone_output=body)
    if split.num_old:
        batch.teacher = Prediction(random(2, split.num_old, *GRID, seed=seed + 2), size, backbone_output=random(2, 6, *GRID))
    return batch


def shape(part, batch):
    """The loss of a batch that is trained."""
    loss = part.loss(batch)
    part.observe(batch)
    return loss


def trained(batches, **options):
    """A part that each batch has brought an update."""
    part = LatentShaping(**options)
    for batch in batches:
        shape(part, batch)
        part.before_update()
    return part


def first_batches():
    return [batch_of(FIRST, labels((0, 1, 255))), batch_of(FIRST, labels((1, 255), seed=1), seed=7),
            batch_of(FIRST, labels((0, 1, 2), seed=2), seed=8)]


def second_part(**options):
    """A part at the start of step 1."""
    part = LatentShaping(**options)
    part.load_previous(trained(first_batches()).state_dict())
    return part


def completed(batch):
    """The labels with the teacher's classes in the background, and those classes alone."""
    predicted = predicted_classes(batch.teacher, GRID)
    target = nearest_labels(batch.target, GRID)
    return predicted.where(target == 0, target), predicted.where(target == 0, torch.tensor(255))


def test_prototypes_are_means_of_all_vectors_ever_seen():
    batches = first_batches()
    part = trained(batches)
    for c in range(3):
        found = [one for batch in batches for one in vectors(batch.student.backbone_output, batch.target).get(c, [])]
        assert part.counts[c].item() == len(found) > 0
        assert part.prototypes[c].tolist() == pytest.approx(mean_vector(found), rel=1e-6)


def test_a_batch_meets_the_prototypes_before_it():
    """At the first one there are none; it enters them at its update."""
    part = LatentShaping(**dict(OFF, attraction=1.))
    first, _, third = first_batches()
    assert shape(part, first).item() == 0
    part.before_update()
    before = part.prototypes.float()
    expected = attraction(*error_sums(third.student.backbone_output, third.target, before), torch.tensor([False, True, False]))
    assert shape(part, third).item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(part.prototypes.float(), before)
    part.before_update()
    assert not torch.equal(part.prototypes.float(), before)


def test_labels_of_the_cells_are_computed_once_for_a_batch(monkeypatch):
    calls = []
    monkeypatch.setattr('mmcss.losses.sdr_part.nearest_labels', lambda *args: calls.append(args) or nearest_labels(*args))
    trained(first_batches())
    assert len(calls) == 3


def test_batches_that_accumulate_enter_together():
    one_by_one, together = trained(first_batches()), LatentShaping()
    for batch in first_batches():
        shape(together, batch)
    together.before_update()
    torch.testing.assert_close(together.prototypes, one_by_one.prototypes)
    assert torch.equal(together.counts, one_by_one.counts)
    together.before_update()  # nothing enters twice
    assert torch.equal(together.counts, one_by_one.counts)


def test_an_overflow_is_left_out():
    """Mixed precision skips the update of such an iteration; the next one brings its own features alone."""
    part, (broken, batch, _) = LatentShaping(), first_batches()
    broken.student.backbone_output.data[0, 0, 0, 0] = float('inf')
    for one in (broken, batch):
        shape(part, one)
    part.before_update()
    torch.testing.assert_close(part.state_dict(), trained([batch]).state_dict())


def test_each_term_has_its_weight():
    batch, total = batch_of(SECOND, labels((0, 3, 4, 255))), 0.
    target, pseudo = completed(batch)
    part = second_part()
    prototypes = torch.cat((part.prototypes.float(), torch.zeros(2, 6)))
    known = torch.tensor([False, True, True, False, False])
    features = batch.student.backbone_output
    means, old = (torch.stack([features.movedim(1, -1)[regions == c].sum(0) / (regions == c).sum().clamp(min=1)
                               for c in range(5)]) for regions in (target, pseudo))
    assert all((regions == c).any() for regions, classes in ((pseudo, (1, 2)), (target, range(5))) for c in classes)
    expected = dict(
        matching=prototype_matching(old, prototypes, known), attraction=attraction(*error_sums(features, target, prototypes), known),
        repulsion=repulsion(means, torch.tensor([False, True, True, True, True])),
        sparsity=sparsity(features, target, 5))
    for number, (name, value) in enumerate(expected.items()):
        found = second_part(**dict(OFF, **{name: number + 2.})).loss(batch)
        assert found.item() == pytest.approx((number + 2) * value.item(), rel=1e-5) and value > 0
        total += {'matching': .01}.get(name, 1e-3) * value.item()
    assert second_part().loss(batch).item() == pytest.approx(total, rel=1e-5)
    assert second_part(**OFF).loss(batch) is None


def test_the_background_is_a_class_where_that_is_asked_for():
    batch = batch_of(SECOND, labels((0, 3, 4, 255)))
    target, pseudo = completed(batch)
    assert (pseudo == 0).any()
    for name in OFF:
        without, with_it = (second_part(**dict(OFF, **{name: 1.}), background=switch).loss(batch).item()
                            for switch in (False, True))
        assert (without == with_it) == (name == 'sparsity'), name
    prototypes, features = second_part().prototypes.float(), batch.student.backbone_output
    expected = attraction(*error_sums(features, target, prototypes), torch.ones(3, dtype=torch.bool))
    assert second_part(**dict(OFF, attraction=1.), background=True).loss(batch).item() == pytest.approx(expected.item())


def test_a_first_step_that_is_left_alone():
    """As the authors train it; prototypes come from the trained model."""
    part = LatentShaping(first_step=False)
    assert all(shape(part, batch) is None for batch in first_batches()) and part.collected is None
    part.after_step(FIRST, first_batches())
    shaped = trained(first_batches())
    torch.testing.assert_close(part.state_dict(), shaped.state_dict())
    batch = batch_of(SECOND, labels((0, 3, 4, 255)))
    torch.testing.assert_close(shape(part, batch), shape(shaped, batch))


def test_matching_leaves_labelled_classes_alone():
    """A new class has a prototype from its second batch on, and is no pseudo class."""
    part, batch = second_part(**dict(OFF, matching=1.)), batch_of(SECOND, labels((0, 3, 4, 255)))
    shape(part, batch)
    part.before_update()
    assert (part.counts[3:] > 0).all()
    _, pseudo = completed(batch)
    means = torch.stack([batch.student.backbone_output.movedim(1, -1)[pseudo == c].sum(0) / (pseudo == c).sum().clamp(min=1)
                         for c in range(5)])
    expected = prototype_matching(means, part.prototypes.float(), torch.tensor([False, True, True, False, False]))
    assert shape(part, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_step_0_has_no_matching():
    batch = first_batches()[2]
    assert LatentShaping(**dict(OFF, matching=1.)).loss(batch) is None
    assert trained(first_batches()).loss(batch).item() > 0
    assert LatentShaping.from_first_step and LatentShaping().needs == Needs(backbone_output=True)


def test_labels_larger_than_the_map():
    """The label in the middle of each cell counts."""
    small, large = batch_of(SECOND, labels((0, 3, 4, 255))), batch_of(SECOND, labels((0, 3, 4, 255)), size=(32, 27))
    assert large.target.shape == (2, 32, 27)
    assert second_part().loss(large).item() == pytest.approx(second_part().loss(small).item(), rel=1e-6)


def test_a_teacher_of_another_resolution_is_brought_to_the_map():
    batch = batch_of(SECOND, labels((0, 3)))
    fine = batch.teacher.head_logits.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = predicted_classes(Prediction(fine, (32, 27)), GRID)
    assert torch.equal(found, batch.teacher.head_logits.argmax(dim=1))


def test_gradients_flow_to_the_student_alone():
    batch, part = batch_of(SECOND, labels((0, 3, 4, 255))), second_part()
    batch.teacher.head_logits.requires_grad_()
    shape(part, batch).backward()
    assert batch.student.backbone_output.grad.any() and batch.teacher.head_logits.grad is None
    part.before_update()
    assert not part.prototypes.requires_grad and not part.counts.requires_grad


@pytest.mark.parametrize('split', [FIRST, SECOND], ids=['first', 'second'])
def test_a_batch_that_is_ignored_as_a_whole(split):
    batch = batch_of(split, torch.full((2, *GRID), 255))
    part = second_part() if split is SECOND else LatentShaping()
    counts = part.counts.sum().item()
    loss = shape(part, batch)
    loss.backward()
    part.before_update()
    assert loss.item() == 0 and (batch.student.backbone_output.grad == 0).all()
    assert part.counts.sum() == counts and part.prototypes.isfinite().all()


def test_prototypes_of_old_classes_stay_where_labels_do_not_tell_them():
    """Pseudo classes don't enter; replayed labels do."""
    part = second_part()
    before, counts = part.prototypes.clone(), part.counts.clone()
    shape(part, batch_of(SECOND, labels((0, 3, 255))))
    part.before_update()
    assert torch.equal(part.prototypes[1:3], before[1:]) and torch.equal(part.counts[1:3], counts[1:])
    assert part.prototypes.shape == (5, 6) and part.counts[3] > 0 and part.counts[4] == 0
    assert not part.prototypes[4].any()
    shape(part, batch_of(SECOND, labels((1, 3))))
    part.before_update()
    assert part.counts[1] > counts[1] and not torch.equal(part.prototypes[1], before[1])


def test_mixed_precision():
    """Half-precision features; sums over them would overflow or lose what is small."""
    losses, parts = [], []
    for enabled in (False, True):
        batch = batch_of(SECOND, labels((0, 3, 4, 255)))
        batch.student.backbone_output = (100 * batch.student.backbone_output.detach()).bfloat16()
        part = second_part()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            losses.append(shape(part, batch))
        part.before_update()
        parts.append(part)
    assert losses[1].dtype == torch.float32 and losses[1].item() == pytest.approx(losses[0].item(), rel=1e-6)
    assert torch.equal(parts[0].prototypes, parts[1].prototypes)


def test_state_is_taken_back():
    batches = [batch_of(SECOND, labels((0, 3, 4), seed=k), seed=9 * k) for k in range(3)]
    whole, stopped, resumed = second_part(), second_part(), second_part()
    for part in (whole, stopped):
        shape(part, batches[0])
        part.before_update()
    resumed.load_state_dict(stopped.state_dict())
    for part in (whole, resumed):
        last = [(shape(part, batch), part.before_update())[0].item() for batch in batches[1:]][-1]
        assert last > 0
        part.last = last
    assert whole.last == resumed.last and torch.equal(whole.prototypes, resumed.prototypes)
    assert torch.equal(whole.counts, resumed.counts)


def test_another_backbone_is_refused():
    part = second_part()
    batch = batch_of(SECOND, labels((0, 3)))
    batch.student.backbone_output = random(2, 7, *GRID)
    with pytest.raises(ValueError, match='of the step before have 6 channels, the backbone gives 7'):
        shape(part, batch)


def refuse():
    raise AssertionError('no pass is needed')
    yield


def test_the_end_of_a_step():
    """What no update followed enters; the data is not looked at."""
    part, whole = LatentShaping(), trained(first_batches())
    for batch in first_batches():
        shape(part, batch)
    part.after_step(FIRST, refuse())
    torch.testing.assert_close(part.state_dict(), whole.state_dict())


def test_a_step_that_was_trained_elsewhere_is_looked_at():
    part = LatentShaping()
    part.after_step(FIRST, iter(first_batches()))
    assert not part.prototypes.requires_grad
    torch.testing.assert_close(part.state_dict(), trained(first_batches()).state_dict())
    empty = LatentShaping()
    empty.after_step(FIRST, iter([]))
    assert not empty.counts.any()


def one_process(rank, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    shares = [first_batches()[:1], first_batches()[1:2]]
    part = trained(shares[rank])
    looked = LatentShaping()
    looked.after_step(FIRST, iter(first_batches() if rank else []))
    torch.save((part.state_dict(), looked.state_dict()), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_prototypes_of_two_processes_are_those_of_one(tmp_path):
    spawn(one_process, str(tmp_path))
    expected = LatentShaping()
    for batch in first_batches()[:2]:
        shape(expected, batch)
    expected.before_update()
    for rank in range(2):
        part, looked = torch.load(tmp_path / f'{rank}.pt')
        torch.testing.assert_close(part, expected.state_dict())
        torch.testing.assert_close(looked, trained(first_batches()).state_dict())
