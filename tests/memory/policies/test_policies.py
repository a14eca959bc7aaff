from collections import Counter

import numpy as np
import pytest
from numpy.random import RandomState

from mmcss.memory import POLICIES
from tests.memory.policies.pools import policy, pool_of, some, table

NAMES = POLICIES.members()
class_balanced, first, uniform = (policy(name).select for name in ('class_balanced', 'first', 'random'))

# All policies.


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('stored', [0, 3])
def test_each_image_at_most_once_and_no_more_than_asked_for(name, stored):
    for seed in range(5):
        for size in (1, 2, 5, 9):
            chosen = policy(name).select(some(12, seed=seed, stored=stored), size, RandomState(seed))
            assert len(chosen) == len(set(chosen)) == size
            assert all(type(image) is int and 0 <= image < 12 for image in chosen)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [7, 8, 100])
def test_all_are_kept_where_there_is_room(name, size):
    assert sorted(policy(name).select(some(7, stored=2), size, RandomState(0))) == [*range(7)]


@pytest.mark.parametrize('name', NAMES)
def test_a_memory_of_no_images(name):
    assert policy(name).select(some(7, stored=2), 0, RandomState(0)) == []


@pytest.mark.parametrize('name', NAMES)
def test_no_candidates(name):
    nothing = pool_of(np.zeros((0, 3), bool), class_features=[np.zeros((0, 5))] * 3,
                         certainty=np.zeros(0))
    assert policy(name).select(nothing, 4, RandomState(0)) == []


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [1, 3])
def test_fewer_images_than_classes(name, size):
    for seed in range(5):
        assert len(set(policy(name).select(some(20, classes=6, seed=seed), size, RandomState(seed)))) == size


@pytest.mark.parametrize('name', NAMES)
def test_the_same_random_state_gives_the_same_answer(name):
    answers = [policy(name).select(some(30, stored=5), 8, RandomState(3)) for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize('name', ['random', 'class_balanced', 'cbes', 'reservoir'])
def test_another_random_state_gives_another_answer(name):
    assert len({tuple(policy(name).select(some(30), 8, RandomState(seed))) for seed in range(5)}) == 5


@pytest.mark.parametrize('name', NAMES)
def test_candidates_are_left_as_they_are(name):
    pool, same = some(12, stored=3), some(12, stored=3)
    policy(name).select(pool, 4, RandomState(0))
    for field in ('holds', 'stored', 'classes_seen', 'certainty'):
        assert np.array_equal(getattr(pool, field), getattr(same, field))
    assert pool.images_seen == 3


def test_random_takes_each_image_as_likely_as_another():
    repeats, number, size = 2000, 10, 3
    random = RandomState(0)
    candidates = some(number)
    counts = Counter(image for _ in range(repeats) for image in uniform(candidates, size, random))
    assert sum(counts.values()) == repeats * size
    chance = size / number
    tolerance = 5 * (chance * (1 - chance) / repeats)**0.5
    assert all(abs(counts[image] / repeats - chance) < tolerance for image in range(number))


# Class-balanced (SSUL).


def test_class_balanced_chooses_as_ssul_does():
    """What the authors' code (utils/memory.py) chooses of these with np.random.seed(1).

    It shuffles lists; an array is shuffled to the same order.
    """
    labels = [[1], [2, 4], [2, 3], [4, 5], [3, 5]] * 2
    holds = table([[label - 1 for label in row] for row in labels], 5)
    # Classes 4, 1, 2, 3 and 5, in the order in which they are shuffled.
    assert class_balanced(pool_of(holds), 7, RandomState(1)) == [6, 3, 0, 5, 2, 9, 4]


@pytest.mark.parametrize('seed', range(8))
def test_class_balanced_equals_its_loops(seed):
    """A class takes the first image that holds it from the shuffled list."""
    candidates = some(40, classes=6, seed=seed)
    for size in (1, 5, 6, 17, 40):
        random = RandomState(seed)
        images, classes = [*range(40)], [*range(6)]
        random.shuffle(images)
        random.shuffle(classes)
        taken = {c: [] for c in classes}
        while sum(map(len, taken.values())) < size:
            for c in classes:
                own = [image for image in images if candidates.holds[image, c]]
                if own and sum(map(len, taken.values())) < size:
                    taken[c].append(own[0])
                    images.remove(own[0])
        assert class_balanced(candidates, size, RandomState(seed)) == sum(taken.values(), [])


def test_class_balanced_passes_over_a_class_that_has_none_left():
    holds = table([[0], [1], [1], [1]], 3)
    for seed in range(5):
        chosen = class_balanced(pool_of(holds), 3, RandomState(seed))
        assert len(chosen) == 3 and 0 in chosen


def test_class_balanced_gives_each_class_its_turn():
    """Twelve images of one class and two of another: the rare class gets as many as it has."""
    holds = table([[0]] * 12 + [[1]] * 2, 2)
    for seed in range(5):
        chosen = class_balanced(pool_of(holds), 4, RandomState(seed))
        assert Counter(image >= 12 for image in chosen) == {True: 2, False: 2}


def test_class_balanced_leaves_out_an_image_without_a_class():
    holds = table([[], [0], []], 1)
    assert class_balanced(pool_of(holds), 3, RandomState(0)) == [1]


def test_class_balanced_counts_an_image_for_the_class_that_took_it():
    """Each image holds both classes: either takes others."""
    holds = table([[0, 1]] * 6, 2)
    assert len(set(class_balanced(pool_of(holds), 6, RandomState(0)))) == 6


# The first ones of each class.


def test_the_first_images_of_each_class():
    candidates = pool_of(table([(1, ), (0, 1), (0, ), (0, ), (1, ), (2, )], 4))
    assert first(candidates, 5, RandomState(0)) == [1, 2, 0, 4, 5]
    assert first(candidates, 3, RandomState(0)) == [1, 0, 5]
    assert sorted(first(candidates, 9, RandomState(0))) == [0, 1, 2, 3, 4, 5]
