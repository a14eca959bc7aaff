from collections import Counter

import numpy as np
import pytest
from numpy.random import RandomState

from mmcss.datasets import policies
from mmcss.datasets.policies import (
    POLICIES, Candidates, cbes, cbes_insert, class_balanced, confident, first, herding, reservoir, uniform)


def table(rows, classes):
    """``[n, classes]`` bool from the classes of each image."""
    holds = np.zeros((len(rows), classes), dtype=bool)
    for row, shown in zip(holds, rows):
        row[list(shown)] = True
    return holds


def units(rows, width, random):
    vectors = random.normal(size=(rows, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def at(*degrees):
    """Unit vectors of these angles."""
    return np.stack((np.cos(np.radians(degrees)), np.sin(np.radians(degrees))), axis=1)


def some(number, classes=4, seed=0, remembered=0):
    """Candidates of one to all classes each, with features."""
    random = RandomState(seed)
    rows = [random.permutation(classes)[:random.randint(1, classes + 1)] for _ in range(number)]
    holds = table(rows, classes)
    old = np.arange(number) < remembered
    return Candidates(
        holds=holds, remembered=old, images_seen=remembered, classes_seen=holds[old].sum(axis=0),
        class_features=[units(count, 5, random) for count in holds.sum(axis=0)], certainty=random.uniform(size=number))


class Scripted:
    """Random numbers that a test sets: no shuffling, the first of all choices, the given uniform numbers."""

    def __init__(self, *uniforms):
        self.uniforms = list(uniforms)

    def permutation(self, values):
        return np.asarray(values)

    def choice(self, values):
        return values[0]

    def uniform(self):
        return self.uniforms.pop(0)


# All policies.


@pytest.mark.parametrize('name', POLICIES)
@pytest.mark.parametrize('remembered', [0, 3])
def test_each_image_at_most_once_and_no_more_than_asked_for(name, remembered):
    for seed in range(5):
        for size in (1, 2, 5, 9):
            kept = POLICIES[name](some(12, seed=seed, remembered=remembered), size, RandomState(seed))
            assert len(kept) == len(set(kept)) == size
            assert all(type(image) is int and 0 <= image < 12 for image in kept)


@pytest.mark.parametrize('name', POLICIES)
@pytest.mark.parametrize('size', [7, 8, 100])
def test_all_are_kept_where_there_is_room(name, size):
    assert sorted(POLICIES[name](some(7, remembered=2), size, RandomState(0))) == [*range(7)]


@pytest.mark.parametrize('name', POLICIES)
def test_a_memory_of_no_images(name):
    assert POLICIES[name](some(7, remembered=2), 0, RandomState(0)) == []


@pytest.mark.parametrize('name', POLICIES)
def test_no_candidates(name):
    nothing = Candidates(np.zeros((0, 3), bool), np.zeros(0, bool), class_features=[np.zeros((0, 5))] * 3,
                         certainty=np.zeros(0))
    assert POLICIES[name](nothing, 4, RandomState(0)) == []


@pytest.mark.parametrize('name', POLICIES)
@pytest.mark.parametrize('size', [1, 3])
def test_fewer_images_than_classes(name, size):
    for seed in range(5):
        assert len(set(POLICIES[name](some(20, classes=6, seed=seed), size, RandomState(seed)))) == size


@pytest.mark.parametrize('name', POLICIES)
def test_the_same_random_state_gives_the_same_answer(name):
    answers = [POLICIES[name](some(30, remembered=5), 8, RandomState(3)) for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize('name', ['random', 'class_balanced', 'cbes', 'reservoir'])
def test_another_random_state_gives_another_answer(name):
    assert len({tuple(POLICIES[name](some(30), 8, RandomState(seed))) for seed in range(5)}) == 5


@pytest.mark.parametrize('name', POLICIES)
def test_candidates_are_left_as_they_are(name):
    given, same = some(12, remembered=3), some(12, remembered=3)
    POLICIES[name](given, 4, RandomState(0))
    for field in ('holds', 'remembered', 'classes_seen', 'certainty'):
        assert np.array_equal(getattr(given, field), getattr(same, field))
    assert given.images_seen == 3


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
    assert class_balanced(Candidates(holds, np.zeros(10, bool)), 7, RandomState(1)) == [6, 3, 0, 5, 2, 9, 4]


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
        chosen = class_balanced(Candidates(holds, np.zeros(4, bool)), 3, RandomState(seed))
        assert len(chosen) == 3 and 0 in chosen


def test_class_balanced_gives_each_class_its_turn():
    """Twelve images of one class and two of another: the rare class gets as many as it has."""
    holds = table([[0]] * 12 + [[1]] * 2, 2)
    for seed in range(5):
        chosen = class_balanced(Candidates(holds, np.zeros(14, bool)), 4, RandomState(seed))
        assert Counter(image >= 12 for image in chosen) == {True: 2, False: 2}


def test_class_balanced_leaves_out_an_image_without_a_class():
    holds = table([[], [0], []], 1)
    assert class_balanced(Candidates(holds, np.zeros(3, bool)), 3, RandomState(0)) == [1]


def test_class_balanced_counts_an_image_for_the_class_that_took_it():
    """Each image holds both classes: either takes others."""
    holds = table([[0, 1]] * 6, 2)
    assert len(set(class_balanced(Candidates(holds, np.zeros(6, bool)), 6, RandomState(0)))) == 6


# Reservoir.


def stream(steps, size, random):
    """What is left in a memory after a stream of images that comes in several steps."""
    memory, seen = [], 0
    for number in steps:
        images = memory + [*range(seen, seen + number)]
        old = np.arange(len(images)) < len(memory)
        kept = reservoir(Candidates(np.ones((len(images), 1), bool), old, images_seen=seen), size, random)
        memory, seen = [images[i] for i in kept], seen + number
    return memory


def test_reservoir_keeps_each_image_of_all_steps_as_likely_as_another():
    repeats, steps, size = 2000, (3, 7, 10), 5
    random = RandomState(0)
    counts = Counter()
    for _ in range(repeats):
        memory = stream(steps, size, random)
        assert len(set(memory)) == size
        counts.update(memory)
    chance = size / sum(steps)
    tolerance = 5 * (chance * (1 - chance) / repeats)**0.5
    assert all(abs(counts[image] / repeats - chance) < tolerance for image in range(sum(steps)))


def test_reservoir_goes_on_counting_images():
    asked = []

    class Watched(RandomState):

        def randint(self, high):
            asked.append(high)
            return high - 1

    old = np.array([True, True, False, False, False])
    kept = reservoir(Candidates(np.ones((5, 1), bool), old, images_seen=7), 2, Watched(0))
    assert asked == [8, 9, 10]
    assert kept == [0, 1]


def test_reservoir_puts_an_image_into_the_slot_that_was_drawn():

    class First(RandomState):

        def randint(self, high):
            return 1

    old = np.array([True, True, True, False])
    assert reservoir(Candidates(np.ones((4, 1), bool), old, images_seen=3), 3, First(0)) == [0, 3, 2]


def test_reservoir_fills_a_memory_that_has_room():
    old = np.array([True, False, False])
    assert sorted(reservoir(Candidates(np.ones((3, 1), bool), old, images_seen=50), 3, RandomState(0))) == [0, 1, 2]


# CBES.


def test_cbes_does_not_store_an_image_without_a_class():
    holds = table([[0], []], 1)
    assert cbes_insert([], 1, holds, np.array([1]), 2, RandomState(0)) == []
    assert cbes_insert([0], 1, holds, np.array([1]), 1, RandomState(0)) == [0]
    assert cbes(Candidates(table([[], [0], []], 1), np.zeros(3, bool)), 3, RandomState(0)) == [1]


@pytest.mark.parametrize('drawn, kept', [(0.5, [1]), (0.501, [0])])
def test_cbes_counts_the_image_itself_among_those_seen(drawn, kept):
    """One of the class is stored and two have been seen by now, so that the chance is a half."""
    holds = table([[0], [0]], 1)
    assert cbes(Candidates(holds, np.zeros(2, bool)), 1, Scripted(drawn)) == kept


@pytest.mark.parametrize('drawn, kept', [(0.1, [1]), (0.101, [0])])
def test_cbes_counts_the_images_of_the_steps_before(drawn, kept):
    candidates = Candidates(table([[0], [0]], 1), np.array([True, False]), 9, np.array([9]))
    assert cbes(candidates, 1, Scripted(drawn)) == kept


def test_cbes_has_never_stored_more_of_a_class_than_it_has_seen(monkeypatch):
    """An exemplar that the step brings again, now with a label of its class, is an image of that class as well."""
    seen_and_stored = []

    def watched(kept, image, holds, seen, size, random):
        seen_and_stored.append((seen.tolist(), holds[kept].sum(axis=0).tolist()))
        return cbes_insert(kept, image, holds, seen, size, random)

    monkeypatch.setattr(policies, 'cbes_insert', watched)
    # Class 1 is new; four old exemplars show it too.
    holds = table([[0, 1]] * 4 + [[1]], 2)
    old = np.array([True] * 4 + [False])
    cbes(Candidates(holds, old, images_seen=100, classes_seen=np.array([100, 0])), 4, RandomState(0))
    assert len(seen_and_stored) == 1
    assert all(stored <= seen for both in seen_and_stored for seen, stored in zip(*both))


def test_cbes_takes_from_the_largest_class_where_its_own_has_nothing_stored():
    holds = table([[0], [0], [1], [2]], 3)
    assert cbes_insert([0, 1, 2], 3, holds, np.array([2, 1, 1]), 3, Scripted()) == [3, 1, 2]


def test_cbes_makes_no_room_where_no_class_is_stored():
    """Exemplars without a class have been chosen by another policy."""
    holds = table([[], [0]], 1)
    assert cbes_insert([0], 1, holds, np.array([1]), 1, RandomState(0)) == [0]


def test_cbes_counts_the_classes_of_a_removed_image_out():
    """Image 0 goes for class 0, which leaves none of class 1, so that the next of class 1 is below its quota."""
    holds = table([[0, 1], [0], [0], [2], [1]], 3)
    kept = cbes_insert([0, 1, 2], 3, holds, np.array([3, 1, 1]), 3, Scripted())
    assert kept == [3, 1, 2]
    assert cbes_insert(kept, 4, holds, np.array([3, 2, 1]), 3, Scripted()) == [3, 4, 2]


def test_cbes_breaks_ties_at_random():
    holds = table([[0], [1], [2]], 3)
    found = Counter(tuple(cbes_insert([0, 1], 2, holds, np.ones(3, int), 2, RandomState(seed))) for seed in range(60))
    assert set(found) == {(2, 1), (0, 2)}
    assert min(found.values()) > 15


def test_cbes_takes_any_image_of_the_largest_class():
    holds = table([[0], [0], [0], [1], [2]], 3)
    seen = np.array([3, 1, 1])
    found = {tuple(cbes_insert([0, 1, 2, 3], 4, holds, seen, 4, RandomState(seed))) for seed in range(60)}
    assert found == {(4, 1, 2, 3), (0, 4, 2, 3), (0, 1, 4, 3)}


def test_cbes_never_throws_out_the_new_image():
    """It is of the largest class too, but takes the place of another."""
    holds = table([[0], [0], [0, 1]], 2)
    found = {tuple(cbes_insert([0, 1], 2, holds, np.array([3, 1]), 2, RandomState(seed))) for seed in range(60)}
    assert found == {(2, 1), (0, 2)}


def test_cbes_tries_classes_in_random_order():
    """Chances are 1, so that the first class which is tried makes room."""
    holds = table([[0], [1], [0, 1]], 2)
    found = Counter(tuple(cbes_insert([0, 1], 2, holds, np.ones(2, int), 2, RandomState(seed))) for seed in range(60))
    assert set(found) == {(2, 1), (0, 2)}
    assert min(found.values()) > 15


def test_cbes_tries_the_next_class_where_the_first_makes_no_room():
    holds = table([[0], [1], [0, 1]], 2)
    seen = np.array([4, 2])
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.26, 0.5)) == [0, 2]
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.25)) == [2, 1]
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.26, 0.51)) == [0, 1]


@pytest.mark.parametrize('shown, drawn, kept', [
    ([1], [], [4, 1, 2, 3]),  # one of class 1 is stored, less than 4 / 2: the largest class makes room
    ([0, 1], [], [4, 1, 2, 3]),
    ([0], [0.04], [0, 1, 2, 3]),  # three of class 0: by chance, 3 of 100
    ([0], [0.03], [4, 1, 2, 3]),
])
def test_cbes_with_a_class_below_its_quota(shown, drawn, kept):
    holds = table([[0], [0], [0], [1], shown], 2)
    assert cbes_insert([0, 1, 2, 3], 4, holds, np.array([100, 100]), 4, Scripted(*drawn)) == kept


@pytest.mark.parametrize('shown, drawn, kept', [
    ([1], [0.021], [0, 1, 2, 3]),
    ([1], [0.02], [0, 1, 4, 3]),  # an image of its own class goes
    ([0], [0.02], [4, 1, 2, 3]),
])
def test_cbes_with_all_classes_at_their_quota(shown, drawn, kept):
    holds = table([[0], [0], [1], [1], shown], 2)
    assert cbes_insert([0, 1, 2, 3], 4, holds, np.array([100, 100]), 4, Scripted(*drawn)) == kept


def test_cbes_quota_counts_the_classes_that_have_been_seen():
    """Two of six classes: the quota is 4 / 2, which one stored image is below, and not 4 / 6."""
    holds = table([[0], [0], [0], [1], [1]], 6)
    assert cbes_insert([0, 1, 2, 3], 4, holds, np.array([100, 100, 0, 0, 0, 0]), 4, Scripted()) == [4, 1, 2, 3]


def test_cbes_with_fewer_places_than_classes():
    """The quota is 2 / 3: one stored image of a class is enough."""
    holds = table([[0], [1], [1], [2]], 3)
    seen = np.array([5, 5, 1])
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.21)) == [0, 1]
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.2)) == [0, 2]
    assert cbes_insert([0, 1], 3, holds, seen, 2, Scripted()) == [3, 1]


def offer(memory, image, labels, seen, known, size, random):
    """Algorithm 2 of the paper in loops; ``memory`` is changed where it stands."""

    def stored(c):
        return [one for one in memory if c in labels[one]]

    own = sorted(labels[image])
    if not own:
        return
    if len(memory) < size or min(len(stored(c)) for c in own) < size / len(known):
        if len(memory) < size:
            memory.append(image)
            return
        most = max(len(stored(c)) for c in known)
        c_max = random.choice([c for c in sorted(known) if len(stored(c)) == most])
        memory[memory.index(random.choice(stored(c_max)))] = image
        return
    for c in random.permutation(own):
        if random.uniform() <= len(stored(c)) / seen[c]:
            memory[memory.index(random.choice(stored(c)))] = image
            return


@pytest.mark.parametrize('size', [1, 3, 7, 20, 100])
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_cbes_equals_the_algorithm_of_the_paper_in_loops(size, seed):
    """A stream of two steps; the second knows two classes more."""
    draw = RandomState(10 + seed)
    # Some classes are rarer than others, and some images have none.
    labels = [{c for c in range(3 if image < 40 else 5) if draw.uniform() < 0.6 / (c + 1)} for image in range(80)]
    holds = table(labels, 5)
    seen, counted = Counter(), np.zeros(5, int)
    one, two = RandomState(seed), RandomState(seed)
    expected, kept, memories = [], [], set()
    for image in range(80):
        seen.update(labels[image])
        counted += holds[image]
        offer(expected, image, labels, seen, set(seen), size, one)
        kept = cbes_insert(kept, image, holds, counted, size, two)
        assert kept == expected
        memories.add(tuple(kept))
    assert len(memories) > 5


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_cbes_of_a_step_goes_on_with_the_memory(seed):
    draw = RandomState(20 + seed)
    labels = [{c for c in range(4) if draw.uniform() < 0.4} or {0} for _ in range(30)]
    seen = Counter({0: 9, 1: 7, 2: 8})
    random = RandomState(seed)
    expected = [0, 1, 2, 3, 4, 5]
    labels[:6] = [{0}, {0, 1}, {1}, {2}, {2, 0}, {2}]
    for image in random.permutation(np.arange(6, 30)).tolist():
        seen.update(labels[image])
        offer(expected, image, labels, seen, set(seen), 6, random)
    candidates = Candidates(table(labels, 4), np.arange(30) < 6, 12, np.array([9, 7, 8, 0]))
    assert cbes(candidates, 6, RandomState(seed)) == expected
    assert candidates.classes_seen.tolist() == [9, 7, 8, 0]


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
    candidates = Candidates(table(rows, 1), np.zeros(18, bool), class_features=[features])
    expected = [members[i] for i in ranked_by_herding(features)]
    assert herding(candidates, size, RandomState(0)) == expected[:size]
    assert expected != members


def test_herding_begins_with_the_image_closest_to_the_mean():
    candidates = Candidates(table([[0]] * 3, 1), np.zeros(3, bool), class_features=[at(0, 30, 50)])
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
            candidates = Candidates(table(rows, 2), np.zeros(10, bool), class_features=features)
            assert herding(candidates, size, random) == taken[0] + taken[1]
    assert shared


# The first ones of each class.


def test_the_first_images_of_each_class():
    candidates = Candidates(table([(1, ), (0, 1), (0, ), (0, ), (1, ), (2, )], 4), np.zeros(6, dtype=bool))
    assert first(candidates, 5, RandomState(0)) == [1, 2, 0, 4, 5]
    assert first(candidates, 3, RandomState(0)) == [1, 0, 5]
    assert sorted(first(candidates, 9, RandomState(0))) == [0, 1, 2, 3, 4, 5]



def test_herding_draws_no_random_numbers():
    assert len({tuple(herding(some(20), 6, RandomState(seed))) for seed in range(4)}) == 1


# Confident (CoRiSeg).


def of_one_class(features, certainty):
    return Candidates(table([[0]] * len(features), 1), np.zeros(len(features), bool), class_features=[features],
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
        assert confident(of_one_class(features, certainty), size, RandomState(0), pool=2) == chosen


def test_confident_chooses_among_the_surest():
    """The medoid, image 2, is not among the two surest; the others are covered all the same."""
    candidates = of_one_class(at(0, 10, 20, 30, 50), [5, 1, 2, 3, 4])
    assert confident(candidates, 1, RandomState(0)) == [2]
    assert confident(candidates, 1, RandomState(0), pool=2) == [0]
    assert confident(candidates, 1, RandomState(0), pool=3) == [3]
    assert confident(candidates, 1, RandomState(0), pool=1) == [0]


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
    candidates = Candidates(holds, np.zeros(10, bool), class_features=[features, np.zeros((0, 2)), features],
                            certainty=certainty)
    assert confident(candidates, 3, RandomState(0), pool=1) == [1, 0, 8]


def test_confident_takes_no_more_of_a_class_than_its_pool():
    """The other class fills the places."""
    holds = table([[0]] * 2 + [[1]] * 6, 2)
    candidates = Candidates(holds, np.zeros(8, bool), class_features=[at(0, 10), at(0, 5, 10, 15, 20, 25)],
                            certainty=np.arange(8.))
    chosen = confident(candidates, 6, RandomState(0))
    assert sorted(chosen[:2]) == [0, 1] and len(chosen) == 6
