"""Policies that take one image after another."""
from collections import Counter

import numpy as np
import pytest
from numpy.random import RandomState

from mmcss.memory import Pool
from tests.memory.policies.pools import Scripted, policy, pool_of, table

cbes, reservoir = (policy(name).select for name in ('cbes', 'reservoir'))


def cbes_insert(stored, image, holds, seen, size, random):
    return policy('cbes').insert(stored, image, Pool(holds, len(stored), 0, seen), size, random)

# Reservoir.


def stream(steps, size, random):
    """What is left in a memory after a stream of images that comes in several steps."""
    memory, seen = [], 0
    for number in steps:
        images = memory + [*range(seen, seen + number)]
        stored = reservoir(pool_of(np.ones((len(images), 1), bool), len(memory), images_seen=seen), size, random)
        memory, seen = [images[i] for i in stored], seen + number
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

    stored = reservoir(pool_of(np.ones((5, 1), bool), 2, images_seen=7), 2, Watched(0))
    assert asked == [8, 9, 10]
    assert stored == [0, 1]


def test_reservoir_puts_an_image_into_the_slot_that_was_drawn():

    class First(RandomState):

        def randint(self, high):
            return 1

    assert reservoir(pool_of(np.ones((4, 1), bool), 3, images_seen=3), 3, First(0)) == [0, 3, 2]


def test_reservoir_fills_a_memory_that_has_room():
    assert sorted(reservoir(pool_of(np.ones((3, 1), bool), 1, images_seen=50), 3, RandomState(0))) == [0, 1, 2]


# CBES.


def test_cbes_does_not_store_an_image_without_a_class():
    holds = table([[0], []], 1)
    assert cbes_insert([], 1, holds, np.array([1]), 2, RandomState(0)) == []
    assert cbes_insert([0], 1, holds, np.array([1]), 1, RandomState(0)) == [0]
    assert cbes(pool_of(table([[], [0], []], 1)), 3, RandomState(0)) == [1]


@pytest.mark.parametrize('drawn, stored', [(0.5, [1]), (0.501, [0])])
def test_cbes_counts_the_image_itself_among_those_seen(drawn, stored):
    """One of the class is stored and two have been seen by now, so that the chance is a half."""
    holds = table([[0], [0]], 1)
    assert cbes(pool_of(holds), 1, Scripted(drawn)) == stored


@pytest.mark.parametrize('drawn, stored', [(0.1, [1]), (0.101, [0])])
def test_cbes_counts_the_images_of_the_steps_before(drawn, stored):
    pool = pool_of(table([[0], [0]], 1), 1, 9, np.array([9]))
    assert cbes(pool, 1, Scripted(drawn)) == stored


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
    stored = cbes_insert([0, 1, 2], 3, holds, np.array([3, 1, 1]), 3, Scripted())
    assert stored == [3, 1, 2]
    assert cbes_insert(stored, 4, holds, np.array([3, 2, 1]), 3, Scripted()) == [3, 4, 2]


def test_cbes_breaks_ties_at_random():
    holds = table([[0], [1], [2]], 3)
    chosen = Counter(tuple(cbes_insert([0, 1], 2, holds, np.ones(3, int), 2, RandomState(seed))) for seed in range(60))
    assert set(chosen) == {(2, 1), (0, 2)}
    assert min(chosen.values()) > 15


def test_cbes_takes_any_image_of_the_largest_class():
    holds = table([[0], [0], [0], [1], [2]], 3)
    seen = np.array([3, 1, 1])
    chosen = {tuple(cbes_insert([0, 1, 2, 3], 4, holds, seen, 4, RandomState(seed))) for seed in range(60)}
    assert chosen == {(4, 1, 2, 3), (0, 4, 2, 3), (0, 1, 4, 3)}


def test_cbes_never_throws_out_the_new_image():
    """It is of the largest class too, but takes the place of another."""
    holds = table([[0], [0], [0, 1]], 2)
    chosen = {tuple(cbes_insert([0, 1], 2, holds, np.array([3, 1]), 2, RandomState(seed))) for seed in range(60)}
    assert chosen == {(2, 1), (0, 2)}


def test_cbes_tries_classes_in_random_order():
    """Chances are 1, so that the first class which is tried makes room."""
    holds = table([[0], [1], [0, 1]], 2)
    chosen = Counter(tuple(cbes_insert([0, 1], 2, holds, np.ones(2, int), 2, RandomState(seed))) for seed in range(60))
    assert set(chosen) == {(2, 1), (0, 2)}
    assert min(chosen.values()) > 15


def test_cbes_tries_the_next_class_where_the_first_makes_no_room():
    holds = table([[0], [1], [0, 1]], 2)
    seen = np.array([4, 2])
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.26, 0.5)) == [0, 2]
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.25)) == [2, 1]
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.26, 0.51)) == [0, 1]


@pytest.mark.parametrize('shown, drawn, stored', [
    ([1], [], [4, 1, 2, 3]),  # one of class 1 is stored, less than 4 / 2: the largest class makes room
    ([0, 1], [], [4, 1, 2, 3]),
    ([0], [0.04], [0, 1, 2, 3]),  # three of class 0: by chance, 3 of 100
    ([0], [0.03], [4, 1, 2, 3]),
])
def test_cbes_with_a_class_below_its_quota(shown, drawn, stored):
    holds = table([[0], [0], [0], [1], shown], 2)
    assert cbes_insert([0, 1, 2, 3], 4, holds, np.array([100, 100]), 4, Scripted(*drawn)) == stored


@pytest.mark.parametrize('shown, drawn, stored', [
    ([1], [0.021], [0, 1, 2, 3]),
    ([1], [0.02], [0, 1, 4, 3]),  # an image of its own class goes
    ([0], [0.02], [4, 1, 2, 3]),
])
def test_cbes_with_all_classes_at_their_quota(shown, drawn, stored):
    holds = table([[0], [0], [1], [1], shown], 2)
    assert cbes_insert([0, 1, 2, 3], 4, holds, np.array([100, 100]), 4, Scripted(*drawn)) == stored


@pytest.mark.parametrize('classes, stored', [(2, [4, 1, 2, 3]), (6, [0, 1, 2, 3])])
def test_cbes_quota_counts_all_classes_of_the_step(classes, stored):
    """Those that have not come yet as well: one stored image is below a quota of 4 / 2, not below one of 4 / 6."""
    holds, seen = table([[0], [0], [0], [1], [1]], classes), np.array([100, 100, *[0] * 4])[:classes]
    assert cbes_insert([0, 1, 2, 3], 4, holds, seen, 4, Scripted(.5)) == stored


def test_cbes_with_fewer_places_than_classes():
    """The quota is 2 / 3: one stored image of a class is enough."""
    holds = table([[0], [1], [1], [2]], 3)
    seen = np.array([5, 5, 1])
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.21)) == [0, 1]
    assert cbes_insert([0, 1], 2, holds, seen, 2, Scripted(0.2)) == [0, 2]
    assert cbes_insert([0, 1], 3, holds, seen, 2, Scripted()) == [3, 1]


def offer(memory, image, labels, seen, classes, size, random):
    """Algorithm 2 of the paper in loops; ``memory`` is changed where it stands."""

    def stored(c):
        return [image for image in memory if c in labels[image]]

    own = sorted(labels[image])
    if not own:
        return
    if len(memory) < size or min(len(stored(c)) for c in own) < size / classes:
        if len(memory) < size:
            memory.append(image)
            return
        most = max(len(stored(c)) for c in range(classes))
        c_max = random.choice([c for c in range(classes) if len(stored(c)) == most])
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
    random, same_random = RandomState(seed), RandomState(seed)
    expected, stored, memories = [], [], set()
    for image in range(80):
        seen.update(labels[image])
        counted += holds[image]
        classes = 3 if image < 40 else 5
        offer(expected, image, labels, seen, classes, size, random)
        stored = cbes_insert(stored, image, holds[:, :classes], counted[:classes], size, same_random)
        assert stored == expected
        memories.add(tuple(stored))
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
        offer(expected, image, labels, seen, 4, 6, random)
    pool = pool_of(table(labels, 4), 6, 12, np.array([9, 7, 8, 0]))
    assert cbes(pool, 6, RandomState(seed)) == expected
    assert pool.classes_seen.tolist() == [9, 7, 8, 0]
