import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.random import RandomState

from mmcss.memory.replay.dynamic import DynamicReplay, class_probabilities
from mmcss.memory.replay import UniformReplay
from mmcss.scenario import Split
from tests.memory.replay.streams import act_as, batch_of, started


def test_class_probabilities():
    """exp(-eta E) over their sum; large factors don't underflow."""
    confidence = np.array([.1, .9, .4])
    for eta in (0., 1., 10.):
        weights = [math.exp(-eta * value) for value in confidence]
        np.testing.assert_allclose(class_probabilities(confidence, eta), np.array(weights) / sum(weights))
    np.testing.assert_allclose(class_probabilities(np.array([1., 1., .5]), 5000.), [0, 0, 1])


HOLDS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)


def stand_in(stored, confidence=None, background='background', **options):
    """A DynamicReplay of three classes, of which the images 0 to 4 show what HOLDS says."""
    dataset = SimpleNamespace(memory=SimpleNamespace(confidence=confidence or {}),
                              split=Split(1, ('a', ), ('b', 'c'), (), ('a', ), background))
    replay = DynamicReplay(**options)
    buffer = SimpleNamespace(dataset=dataset, classes=('a', 'b', 'c'), stored=list(stored), holds=HOLDS)
    replay.begin(SimpleNamespace(), buffer, RandomState(0))
    return replay


def test_new_classes_start_at_0():
    assert stand_in([0], dict(b=.5, a=.25)).confidence.tolist() == [.25, .5, 0.]


def test_classes_are_drawn_by_confidence_and_then_any_image_of_them():
    """Those without a stored image (c) are left out, whatever their confidence."""
    replay = stand_in([0, 1, 2, 4], dict(a=.8, b=.2, c=0.), eta=3.)
    drawn = replay.draw(20000)
    a, b = class_probabilities(np.array([.8, .2]), 3.)
    shares = [drawn.count(i) / 20000 for i in range(5)]
    np.testing.assert_allclose(shares, [a / 2, b / 2, a / 2 + b / 2, 0, 0], atol=.015)
    flat = stand_in([0, 1, 2, 4], dict(a=.8, b=.2, c=0.), eta=0.).draw(20000)
    np.testing.assert_allclose([flat.count(i) / 20000 for i in range(5)], [.25, .25, .5, 0, 0], atol=.015)


@pytest.mark.parametrize('stored', [[], [4]])
def test_nothing_to_draw(stored):
    """No stored image, or none that shows a class."""
    assert stand_in(stored).draw(3) == []


def test_as_many_as_asked_for_also_of_one_image():
    assert stand_in([3]).draw(3) == [3, 3, 3]


def test_confidence_moves_for_classes_that_were_seen_alone():
    """The first row of sums and counts is background's."""
    replay = stand_in([0], dict(a=.5, b=.5, c=.5), momentum=.9)
    replay.after_iteration(torch.tensor([[9., 2., 0., 3.], [10., 4., 0., 3.]]))
    np.testing.assert_allclose(replay.confidence, [.9 * .5 + .1 * .5, .5, .9 * .5 + .1 * 1.])
    with_unknown = stand_in([0], dict(a=.5, b=.5, c=.5), momentum=0.)
    with_unknown.after_iteration(torch.tensor([[9., 1., 2., 3., 0.], [10., 4., 4., 4., 0.]]))
    assert with_unknown.confidence.tolist() == [.25, .5, .75]


def test_confidence_of_classes_without_a_background():
    """The first row is that of the first class."""
    replay = stand_in([0], dict(a=.5, b=.5, c=.5), background=None, momentum=0.)
    replay.after_iteration(torch.tensor([[1., 2., 0.], [4., 4., 0.]]))
    assert replay.confidence.tolist() == [.25, .5, .5]


def test_any_stored_images_each_once(runner):
    replay = started(UniformReplay, runner, images=2)
    replay.buffer.stored = [1, 4, 5]
    counts = np.zeros(6)
    for _ in range(600):
        drawn = replay.draw(2)
        assert len(set(drawn)) == 2
        counts[drawn] += 1
    np.testing.assert_allclose(counts[[1, 4, 5]] / 600, 2 / 3, atol=.08)
    assert counts.sum() == 1200 and sorted(replay.draw(9)) == [1, 4, 5]
    replay.buffer.stored = []
    assert replay.draw(2) == []


def test_batches_get_remembered_images_behind_the_new_ones(runner):
    replay, batch = started(UniformReplay, runner, images=2), batch_of(runner)
    first = list(batch['inputs'])
    replay.before_iteration(batch)
    expected = RandomState(5).choice(range(6), 2, replace=False)
    names = [sample.img_path.rsplit('/')[-1] for sample in batch['data_samples'][2:]]
    assert names == [replay.buffer.candidates[i].exemplar.name for i in expected]
    assert len(batch['inputs']) == 4 and all(a is b for a, b in zip(first, batch['inputs']))
    assert [sample.labelled.tolist() for sample in batch['data_samples']] == [[0, 0, 0, 1]] * 2 + [[0, 1, 1, 0]] * 2


def test_processes_share_one_draw(runner, monkeypatch):
    taken = []
    for rank in range(2):
        act_as(monkeypatch, rank, 2)
        replay = started(UniformReplay, runner, images=2)
        monkeypatch.setattr(replay, 'add', lambda batch, images: taken.append(images))
        replay.before_iteration({})
    assert len(set(taken[0] + taken[1])) == 4 and [taken[0][0], taken[1][0], taken[0][1], taken[1][1]] == list(
        RandomState(5).choice(range(6), 4, replace=False))
