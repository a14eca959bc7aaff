"""Policies that choose by features."""
import numpy as np
import pytest
from numpy.random import RandomState

from tests.memory.policies.pools import at, policy, pool_of, some, table, units

herding = policy('herding').select


def confident(pool, size, random, surest=10):
    return policy('confident', surest=surest).select(pool, size, random)

# Herding (iCaRL).


def ranked_by_herding(features):
    """iCaRL's algorithm 4: p_k = argmin over images of |mean - (image + sum of those chosen) / k|."""
    mean, chosen = sum(features) / len(features), []
    for k in range(1, len(features) + 1):
        distances = {
            i: np.linalg.norm(mean - (features[i] + sum(features[j] for j in chosen)) / k)
            for i in range(len(features)) if i not in chosen
        }
        chosen.append(min(distances, key=distances.get))
    return chosen


@pytest.mark.parametrize('size', [1, 3, 8, 12])
def test_herding_of_one_class_equals_the_formula_of_icarl(size):
    features = units(12, 6, RandomState(1))
    # Images without the class stand between the others.
    rows = [[0] if image % 3 else [] for image in range(18)]
    members = [image for image in range(18) if image % 3]
    candidates = pool_of(table(rows, 1), class_features=[features])
    expected = [members[i] for i in ranked_by_herding(features)]
    assert herding(candidates, size, RandomState(0)) == expected[:size]
    assert expected != members


def test_herding_begins_with_the_image_closest_to_the_mean():
    candidates = pool_of(table([[0]] * 3, 1), class_features=[at(0, 30, 50)])
    assert herding(candidates, 1, RandomState(0)) == [1]
    # The last one is closer to the mean than the first, but not with the middle one.
    assert herding(candidates, 3, RandomState(0)) == [1, 0, 2]


def test_herding_of_two_classes_in_turns():
    """Images 0 to 3 hold both; the second class goes on where the first one has taken its choice."""
    random = RandomState(4)
    rows = [[0, 1]] * 4 + [[0]] * 3 + [[1]] * 3
    members = [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 7, 8, 9]]
    shared = 0
    for _ in range(10):
        features = [units(7, 3, random) for _ in members]
        orders = [[images[i] for i in ranked_by_herding(own)] for images, own in zip(members, features)]
        for size in (1, 2, 5, 6, 10):
            taken, queues = ([], []), [list(order) for order in orders]
            for turn in range(size):
                c = turn % 2
                while queues[c] and queues[c][0] in taken[1 - c]:
                    queues[c].pop(0)
                    shared += 1
                c = c if queues[c] else 1 - c
                taken[c].append(next(image for image in queues[c] if image not in taken[0] + taken[1]))
                queues[c].remove(taken[c][-1])
            candidates = pool_of(table(rows, 2), class_features=features)
            assert herding(candidates, size, random) == taken[0] + taken[1]
    assert shared


def test_herding_draws_no_random_numbers():
    assert len({tuple(herding(some(20), 6, RandomState(seed))) for seed in range(4)}) == 1


# Confident (CoRiSeg).


def of_one_class(features, certainty):
    return pool_of(table([[0]] * len(features), 1), class_features=[features],
                      certainty=np.asarray(certainty, float))


def test_confident_begins_with_the_medoid_and_covers_the_rest():
    """Two groups: the middle of the larger one, then the middle of the other."""
    candidates = of_one_class(at(0, 10, 20, 30, 40, 190, 200, 210), [0] * 8)
    assert confident(candidates, 1, RandomState(0)) == [2]
    assert confident(candidates, 2, RandomState(0)) == [2, 6]


def test_confident_equals_a_greedy_cover_in_loops():
    random = RandomState(7)
    for size in (1, 2, 4):
        features, certainty = units(15, 4, random), random.uniform(size=15)
        pool = sorted(range(15), key=lambda i: -certainty[i])[:2 * size]
        chosen = []
        while len(chosen) < size:
            costs = {
                i: sum(min(1 - features[j] @ features[k] for k in (*chosen, i)) for j in range(15))
                for i in pool if i not in chosen
            }
            chosen.append(min(costs, key=costs.get))
        assert confident(of_one_class(features, certainty), size, RandomState(0), surest=2) == chosen


def test_confident_chooses_among_the_surest():
    """The medoid, image 2, is not among the two surest; the others are covered all the same."""
    candidates = of_one_class(at(0, 10, 20, 30, 50), [5, 1, 2, 3, 4])
    assert confident(candidates, 1, RandomState(0)) == [2]
    assert confident(candidates, 1, RandomState(0), surest=2) == [0]
    assert confident(candidates, 1, RandomState(0), surest=3) == [3]
    assert confident(candidates, 1, RandomState(0), surest=1) == [0]


def test_confident_pool_is_ten_times_what_a_class_is_wanted_for():
    """Image 20 is the medoid, but there are ten surer ones."""
    angles = [*range(10), *[90] * 12]
    certainty = [3] * 10 + [2] * 11 + [1]
    assert confident(of_one_class(at(*angles), certainty), 1, RandomState(0)) == [9]
    assert confident(of_one_class(at(*angles), certainty), 2, RandomState(0))[0] == 10


def test_confident_shares_the_places_among_classes():
    """Three places of two classes: two are wanted of each, so that the pool holds two images."""
    features = at(0, 10, 20, 30, 40)
    holds = table([[0]] * 5 + [[2]] * 5, 3)
    certainty = np.array([4, 5, 1, 2, 3, 1, 2, 3, 5, 4.])
    candidates = pool_of(holds, class_features=[features, np.zeros((0, 2)), features],
                            certainty=certainty)
    assert confident(candidates, 3, RandomState(0), surest=1) == [1, 0, 8]


def test_confident_takes_no_more_of_a_class_than_its_pool():
    """The other class fills the places."""
    holds = table([[0]] * 2 + [[1]] * 6, 2)
    candidates = pool_of(holds, class_features=[at(0, 10), at(0, 5, 10, 15, 20, 25)],
                            certainty=np.arange(8.))
    chosen = confident(candidates, 6, RandomState(0))
    assert sorted(chosen[:2]) == [0, 1] and len(chosen) == 6


@pytest.mark.parametrize('features', [at(0, 0, 0, 0, 0), np.concatenate((np.zeros((2, 2)), at(0, 40, 90)))], ids=['equal', 'lost'])
def test_confident_takes_each_image_once_where_none_brings_a_class_closer(features):
    """Features that are alike, or of a class that a crop has lost."""
    candidates = pool_of(np.ones((5, 1), bool), class_features=[features], certainty=np.zeros(5))
    for size in range(1, 6):
        assert len(set(confident(candidates, size, RandomState(0)))) == size
