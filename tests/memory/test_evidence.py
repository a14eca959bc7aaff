import numpy as np
import pytest
import torch
from torch import nn

from mmcss.memory.evidence import Evidence, LastBatch, certainty, class_confidence, evidence_of
from mmcss.parts import Needs, Prediction, StepBatch
from mmcss.scenario import Split
from tests.losses import loops
from tests.losses.test_online_em import SPLIT, labels, scores


def test_evidence_of_two_labels_is_joined():
    evidence = Evidence({0: np.array([1., 2]), 2: np.array([3., 3])}, .5)
    both = evidence.joined(Evidence({0: np.array([2., 0]), 1: np.array([1., 1])}, .9))
    assert {c: vector.tolist() for c, vector in both.features.items()} == {0: [3, 2], 1: [1, 1], 2: [3, 3]}
    assert both.certainty == .5 and set(evidence.features) == {0, 2}


def head(channels=6, classes=4):
    torch.manual_seed(0)
    made = nn.Module()
    made.conv_seg = nn.Conv2d(channels, classes, 1)
    return made


@pytest.mark.parametrize('split', [
    Split(0, (), ('background', 'a', 'b', 'c'), (), (), 'background'), Split(0, (), ('a', 'b', 'c', 'd'), (), ())])
def test_evidence_is_of_foreground_classes(split):
    """Class 0 is one of them if there is no background; 255 and unknown are not."""
    target = torch.tensor([[0, 0, 3, 255], [1, 1, 3, 4]]).view(1, 2, 4)
    model, features = nn.Module(), torch.randn(1, 6, 2, 4)
    model.decode_head = head()
    evidence, = evidence_of(model, Prediction(torch.zeros(1, 4, 2, 4), (2, 4), embedding=features), target, split)
    shown = [c for c in (0, 1, 3) if split.seen[c] != split.background]
    assert list(evidence.features) == [split.foreground(split.seen).index(split.seen[c]) for c in shown]
    for vector, c in zip(evidence.features.values(), shown):
        np.testing.assert_allclose(vector, features[0, :, target[0] == c].sum(dim=1), rtol=1e-5)
    assert evidence.certainty == pytest.approx(certainty(model.decode_head.conv_seg, features).item())


def test_certainty_by_hand():
    features, made, outputs = torch.randn(3, 6, 2, 2), head(), []
    generator = torch.Generator().manual_seed(0)
    for mask in torch.rand(10, 6, generator=generator) >= .5:
        dropped = torch.where(mask[None, :, None, None], 2 * features, 0)
        outputs.append(made.conv_seg(dropped).softmax(dim=1))
    variance = torch.stack([(probabilities - sum(outputs) / 10)**2 for probabilities in outputs]).mean(dim=0)
    torch.testing.assert_close(certainty(made.conv_seg, features), -variance.flatten(1).mean(dim=1))
    assert torch.equal(certainty(made.conv_seg, features, ratio=0.), torch.zeros(3))


def test_certainty_does_not_depend_on_the_order_of_a_batch():
    features, made, order = torch.randn(5, 6, 2, 2), head(), torch.tensor([3, 0, 4, 1, 2])
    expected = certainty(made.conv_seg, features)
    torch.testing.assert_close(certainty(made.conv_seg, features[order]), expected[order])
    torch.testing.assert_close(torch.cat([certainty(made.conv_seg, image[None]) for image in features]), expected)
    state = torch.get_rng_state()
    assert torch.equal(certainty(made.conv_seg, features), expected) and torch.equal(torch.get_rng_state(), state)
    assert (expected < 0).all() and len(set(expected.tolist())) == 5


def test_confidence_against_loops():
    logits, target = scores(), labels()
    sums, counts = np.zeros(5), np.zeros(5)
    for n, i, j in loops.pixels(target):
        c = int(target[n, i, j])
        if c != 255:
            sums[c] += loops.softmax(loops.as_array(logits)[n, :, i, j])[c]
            counts[c] += 1
    found = class_confidence(logits, target)
    assert found.dtype == torch.float32 and found.shape == (2, 5)
    assert found.is_contiguous()  # processes add it up in place
    np.testing.assert_allclose(found[0].detach(), sums, rtol=1e-5)
    assert found[1].tolist() == counts.tolist() and (counts > 0).all()


@pytest.mark.parametrize('value', [255, 5, 99])
def test_pixels_of_no_class_are_not_counted(value):
    assert class_confidence(scores(), torch.full((3, 4, 4), value)).tolist() == [[0] * 5] * 2
    with torch.autocast('cpu', torch.bfloat16):
        found = class_confidence(scores().bfloat16(), torch.full((3, 4, 4), 2))
    assert found.dtype == torch.float32 and found[1].tolist() == [0, 0, 48, 0, 0] and 0 < found[0, 2] < 48


def batch_of(target):
    embedding = torch.randn(3, 6, 4, 4, requires_grad=True)
    return StepBatch(SPLIT, target, torch.zeros_like(target),
                     student=Prediction(scores(), (4, 4), embedding=embedding))


def test_the_last_batch_has_what_is_asked_for():
    """It adds no loss, and looks at the labels as they came."""
    batch, last = batch_of(labels()), LastBatch(confidence=True, features=False)
    last.observe(batch)
    assert last.loss(batch) is None and last.needs == Needs(logits=True) and last.batch is None
    assert torch.equal(last.confidence, class_confidence(scores(), labels())) and not last.confidence.requires_grad
    last = LastBatch(confidence=False, features=True)
    last.observe(batch)
    assert last.needs == Needs(embedding=True) and last.confidence is None
    assert last.batch is batch and not batch.student.embedding.requires_grad
    idle = LastBatch(False, False)
    idle.observe(batch)
    assert idle.needs == Needs() and idle.takes_unknown and idle.batch is None
