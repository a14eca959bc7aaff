from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import RandomState
from PIL import Image

from mmcss.memory import POLICIES, Exemplar, WithMemory
from mmcss.memory.copies import write_copies
from mmcss.memory.evidence import Evidence, class_features
from tests.makers import folder_config, mapped, split_of
from tests.memory.buffers import buffer_of
from tests.memory.memories import write_memory
from tests.memory.policies.pools import policy as build_policy
from tests.memory.policies.pools import pool_of

POLICY_NAMES = POLICIES.members()

# Learning order: background, b, a, d, c. Files hold background 0, a 1, b 2, c 3, d 4.
STEPS = (('b', 'a'), ('d', ), ('c', ))
# Of step 1, where d is new: n0 to n5, of which o2 was there in step 0 too; it holds a as well.
LABELS = {'o0': (0, 1), 'o1': (2, 0), 'o2': (1, 4), 'o3': (2, 1), 'n0': (4, 0), 'n1': (0, 4), 'n2': (4, 255)}


def refer(stem, holds=('a', ), labelled=('b', 'a')):
    return Exemplar(0, f'{stem}.jpg', tuple(labelled), tuple(holds))


OLD = (refer('o0'), refer('o1', ('b', )), refer('o3', ('b', 'a')))


def make(root, exemplars=OLD, step=1, labels=LABELS, min_length=0, wrap=dict, seen=(0, {}), regime='overlapped'):
    config = wrap(folder_config(root, labels))
    path = write_memory(root / 'memory.json', config, exemplars, images_seen=seen[0], classes_seen=seen[1])
    return WithMemory(
        config, split_of(STEPS, step, regime=regime), dict(role='train', regime=regime),
        min_length=min_length, path=path, add_new_labels=False)


def memory_of(dataset, size=4, policy='cbes', seed=0, evidence=()):
    """A buffer with the model's evidence on the stored images."""
    buffer = buffer_of(dataset, size, policy, seed)
    buffer.add_evidence(evidence)
    buffer.offer([])
    return buffer


def names(memory):
    return [candidate.exemplar.name[:-4] for candidate in memory.chosen()]


# The start.


def test_the_stream_of_a_step(tmp_path):
    """What is remembered, then the step's own, with their classes in learning order: b, a, d."""
    dataset = make(tmp_path, seen=(9, dict(a=5, b=1)))
    memory = memory_of(dataset)
    assert memory.classes == ('b', 'a', 'd')
    assert [candidate.exemplar.name for candidate in memory.candidates] == [
        'o0.jpg', 'o1.jpg', 'o3.jpg', 'n0.jpg', 'n1.jpg', 'n2.jpg', 'o2.jpg']
    assert memory.holds.astype(int).tolist() == [[0, 1, 0], [1, 0, 0], [1, 1, 0], *[[0, 0, 1]] * 4]
    assert names(memory) == ['o0', 'o1', 'o3'] and memory.images_seen == 9
    # Two stored images show b, which the count of an older run did not know.
    assert memory.classes_seen.tolist() == [2, 5, 0]


@pytest.mark.parametrize('size, stored', [(0, []), (2, ['o0', 'o1']), (3, ['o0', 'o1', 'o3']), (9, ['o0', 'o1', 'o3'])])
def test_no_more_is_stored_at_the_start_than_there_is_room_for(tmp_path, size, stored):
    assert names(memory_of(make(tmp_path), size)) == stored


@pytest.mark.parametrize('policy', POLICY_NAMES)
def test_a_memory_of_no_image_stays_empty_and_counts(tmp_path, policy):
    memory = memory_of(make(tmp_path), 0, policy)
    for number in range(4):
        memory.offer([number], [Evidence({2: np.ones(2)}, 1.)])
    assert names(memory) == [] and memory.images_seen == 4 and memory.classes_seen.tolist() == [2, 2, 4]


@pytest.mark.parametrize('policy', ['cbes', 'reservoir', 'random', 'class_balanced'])
def test_nothing_remembered_before(tmp_path, policy):
    memory = memory_of(make(tmp_path, ()), 3, policy)
    assert names(memory) == [] and memory.holds.shape == (4, 3)
    memory.offer([2, 0])
    assert sorted(names(memory)) == ['n0', 'n2']


# Image by image.


@pytest.mark.parametrize('policy', ['cbes', 'reservoir'])
@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('size', [1, 3, 4])
def test_all_at_once_are_a_stream_in_random_order(tmp_path, policy, seed, size):
    dataset = make(tmp_path, seen=(7, dict(a=4, b=3)))
    once, stream = memory_of(dataset, size, policy, seed), memory_of(dataset, size, policy, seed)
    once.offer(once.numbers)
    for image in stream.random.permutation(np.arange(3, 7)).tolist():  # batches of one need no draw to be shuffled
        stream.offer([image - 3])
    assert stream.stored == once.stored and stream.images_seen == once.images_seen == 11
    assert stream.classes_seen.tolist() == once.classes_seen.tolist() == [3, 4, 4]


def test_cbes_makes_room_for_a_class_below_its_share(tmp_path):
    """Of three places each class has one; those of b and a are free to be taken from until d has its own."""
    memory = memory_of(make(tmp_path, seen=(3, dict(a=2, b=2))), 3)
    memory.offer([0])
    assert len(memory.stored) == 3 and names(memory).count('n0') == 1
    assert memory.classes_seen.tolist() == [2, 2, 1]


@pytest.mark.parametrize('policy', ['cbes', 'reservoir'])
def test_the_image_itself_counts_before_it_is_judged(tmp_path, monkeypatch, policy):
    """Spec 2: m/n is at most 1. Images of one batch come one after another, in any order."""
    offered = []
    memory = memory_of(make(tmp_path, seen=(7, {})), policy=policy)
    monkeypatch.setattr(memory.policy, 'insert', lambda stored, image, pool, *_: offered.append(
        (image, pool.images_seen, pool.classes_seen.tolist())) or stored)
    memory.offer([1, 3])
    assert sorted(image for image, *_ in offered) == [3, 4]  # of what is stored and the batch
    assert [seen for _, *seen in offered] == [[8, [2, 2, 1]], [9, [2, 2, 2]]]


def test_processes_with_equal_random_numbers_keep_equal_memories(tmp_path):
    for policy in ('cbes', 'reservoir', 'random', 'class_balanced'):
        stored = []
        for seed in (3, 3, 4, 5, 6):
            memory = memory_of(make(tmp_path), 2, policy, seed)
            for number in (3, 0, 2, 1):
                memory.offer([number])
            stored.append(memory.stored)
        assert stored[0] == stored[1] and any(other != stored[0] for other in stored)


# Chosen anew.


@pytest.mark.parametrize('policy', ['random', 'class_balanced'])
def test_other_policies_choose_among_what_is_stored_and_the_batch(tmp_path, policy):
    memory, random = memory_of(make(tmp_path), 3, policy, seed=4), RandomState(4)
    for batch in ([3, 0], [1, 2]):
        pool = [*memory.stored, *(3 + i for i in batch)]
        expected = build_policy(policy).select(pool_of(memory.holds[pool], len(memory.stored)), 3, random)
        memory.offer(batch)
        assert memory.stored == [pool[i] for i in expected]
    assert memory.images_seen == 4


EVIDENCE = [Evidence({1: np.array([1., 0])}, .1), Evidence({0: np.array([0., 1])}, .2),
            Evidence({0: np.array([1., 1]), 1: np.array([3., 4])}, .3)]
FRESH = [Evidence({2: np.array(vector)}, sure)
         for vector, sure in (([1., 0], .5), ([0., 2], .9), ([1., 1], .7), ([3., 1], .4))]


def watched(memory, monkeypatch):
    """The pools that a buffer's policy is shown from now on."""
    pools, chosen = [], memory.policy.select
    monkeypatch.setattr(memory.policy, 'select', lambda pool, *options: pools.append(pool) or chosen(pool, *options))
    return pools


@pytest.mark.parametrize('policy', ['herding', 'confident'])
def test_policies_of_features_see_the_evidence(tmp_path, monkeypatch, policy):
    memory = memory_of(make(tmp_path), 3, policy, evidence=EVIDENCE)
    pools = watched(memory, monkeypatch)
    memory.offer([1, 0], [FRESH[1], FRESH[0]])
    images, evidence = [0, 1, 2, 4, 3], [*EVIDENCE, FRESH[1], FRESH[0]]
    assert pools[0].certainty.tolist() == [.1, .2, .3, .9, .5]
    expected = class_features([image_evidence.features for image_evidence in evidence], memory.holds[images])
    for features, expected_features in zip(pools[0].class_features, expected):
        np.testing.assert_array_equal(features, expected_features)
    np.testing.assert_array_equal(pools[0].class_features[2], [[0, 1], [1, 0]])  # d, of n1 and n0
    pool = pool_of(memory.holds[images], 3, class_features=expected, certainty=pools[0].certainty)
    assert memory.stored == [images[i] for i in build_policy(policy).select(pool, 3, None)]
    # What is stored keeps its evidence; what is not can't come back.
    stored = list(memory.stored)
    assert set(memory._evidence) == set(stored)
    memory.offer([2], [FRESH[2]])
    assert pools[1].certainty.tolist() == [[*EVIDENCE, *FRESH][i].certainty for i in [*stored, 5]]


def test_an_image_without_evidence_is_the_least_sure(tmp_path):
    """As one whose crop has lost its class: a zero vector."""
    memory = memory_of(make(tmp_path), 3, 'confident', evidence=EVIDENCE)
    memory.offer([0, 1], [Evidence({}, .5), FRESH[1]])
    assert len(memory.stored) == 3


# Twice.


@pytest.mark.parametrize('policy', ['cbes', 'reservoir', 'class_balanced', 'random'])
def test_an_image_that_is_stored_and_comes_again(tmp_path, policy):
    """It stays stored, once, with the labels of both."""
    memory = memory_of(make(tmp_path, [refer('o2'), refer('o1', ('b', ))]), 2, policy)
    assert memory.holds[0].tolist() == [False, True, False] and memory.holds[5].tolist() == [False, False, True]
    memory.offer([3])
    assert Counter(names(memory)) == Counter(['o2', 'o1'])
    both, = (candidate.exemplar for candidate in memory.chosen() if candidate.exemplar.name == 'o2.jpg')
    assert (both.labelled, both.holds) == (('b', 'a', 'd'), ('a', 'd'))
    assert memory.holds[0].tolist() == [False, True, True]
    # It counts as an image of d, and not once more as one of a.
    assert memory.images_seen == 0 and memory.classes_seen.tolist() == [1, 1, 1]


def test_its_new_class_counts_before_others_are_judged(tmp_path, monkeypatch):
    """A class has never more images stored than seen: o2 shows d before n0 is offered."""
    memory = memory_of(make(tmp_path, [refer('o2'), refer('o1', ('b', ))]), 2)
    pools = watched(memory, monkeypatch)
    memory.offer([0, 3])
    assert pools[0].classes_seen.tolist() == [1, 1, 1] and pools[0].stored == 2 and len(pools[0].holds) == 3
    assert memory.classes_seen.tolist() == [1, 1, 2] and (memory.images_seen, pools[0].images_seen) == (1, 0)


def test_its_pixels_are_read_with_both_labels_from_then_on(tmp_path):
    dataset = make(tmp_path, [refer('o2')])
    memory = memory_of(dataset, 2)
    before = memory.load(0)
    assert mapped(before) == [2, 0] and before['data_samples'].labelled.tolist() == [False, True, True, False]
    memory.offer([3])
    after = memory.load(0)
    assert mapped(after) == [2, 3] and after['data_samples'].labelled.tolist() == [False, True, True, True]


@pytest.mark.parametrize('whole', [True, False])
def test_a_copy_that_comes_again_keeps_the_labels_that_it_alone_has(tmp_path, whole):
    """The data set labels d alone by now, or all. Read from the copy old classes are known, and d when it is written."""
    labels = dict(LABELS, o2=(1, 4) if whole else (0, 4))
    (tmp_path / 'memory').mkdir()
    Image.new('RGB', (4, 2)).save(tmp_path / 'memory' / 'o2.jpg')
    Image.fromarray(np.repeat(np.array([[2, 2, 0, 0]], np.uint8), 2, axis=0)).save(tmp_path / 'memory' / 'o2.png')
    copied = replace(refer('o2'), image='memory/o2.jpg', labels='memory/o2.png')
    dataset = make(tmp_path, [copied], labels=labels)
    memory = memory_of(dataset, policy='reservoir')
    assert mapped(memory.load(0)) == [2, 0]
    memory.offer([3])
    assert names(memory) == ['o2'] and memory.holds[memory.stored].tolist() == [[False, True, True]]
    read = memory.load(memory.stored[0])
    assert mapped(read) == ([2, 3] if whole else [2, 0])
    assert read['data_samples'].labelled.tolist() == [False, True, True, whole]
    exemplar, = write_copies(dataset, memory.chosen(), tmp_path / 'next')
    assert (exemplar.labelled, exemplar.holds) == (('b', 'a', 'd'), ('a', 'd'))
    assert np.array(Image.open(tmp_path / 'next' / exemplar.labels))[0, ::2].tolist() == [2, 3]


def test_its_features_are_those_of_both_labels(tmp_path, monkeypatch):
    """Features of a class that both label (o2 shows a) are added."""
    memory = memory_of(make(tmp_path, [refer('o2'), refer('o1', ('b', ))]), 2, 'herding',
                       evidence=[Evidence({1: np.array([0., 3])}, .1), Evidence({0: np.array([1., 0])}, .2)])
    pools = watched(memory, monkeypatch)
    memory.offer([3, 0], [Evidence({1: np.array([4., 0]), 2: np.array([2., 0])}, .8), FRESH[0]])
    for c, expected in enumerate(([[1, 0]], [[.8, .6]], [[1, 0], [1, 0]])):
        np.testing.assert_allclose(pools[0].class_features[c], expected)
    assert pools[0].certainty.tolist() == [.1, .2, .5] and pools[0].holds[0].tolist() == [False, True, True]


def test_one_that_was_thrown_out_comes_as_new(tmp_path):
    memory = memory_of(make(tmp_path, [refer('o2'), refer('o1', ('b', ))]), 4)
    memory.stored.remove(0)
    memory.offer([3])
    assert [replace(candidate.exemplar, source=None) for candidate in memory.chosen()] == [refer('o1', ('b', )), refer('o2', ('d', ), ('d', ))]


@pytest.mark.parametrize('policy', ['cbes', 'reservoir', 'class_balanced'])
def test_numbers_that_fill_a_short_step_count_once(tmp_path, policy):
    """As two processes get the one image of a step: in one batch, or in two."""
    labels = {stem: LABELS[stem] for stem in ('o0', 'o1', 'o3', 'n0')}
    for batches in ([[0, 1]], [[1], [0]]):
        dataset = make(tmp_path / str(len(batches)), labels=labels, min_length=2)
        assert (len(dataset), dataset.num_images) == (2, 1)
        memory = memory_of(dataset, 9, policy)
        for batch in batches:
            memory.offer(batch)
        assert sorted(names(memory)) == ['n0', 'o0', 'o1', 'o3']
        assert memory.images_seen == 1 and memory.classes_seen.tolist() == [2, 2, 1]


def test_images_of_a_repeated_data_set_count_once(tmp_path):
    dataset = make(tmp_path, wrap=lambda config: dict(type='RepeatDataset', dataset=config, times=2))
    memory = memory_of(dataset, 9)
    memory.offer(list(range(len(dataset))))
    assert len(dataset) == 8 and memory.images_seen == 4 and len(names(memory)) == len(set(names(memory))) == 7


def test_counts_go_on_over_steps(tmp_path):
    """Also those of classes whose images have all gone."""
    memory = memory_of(make(tmp_path, ()), 1)
    memory.offer([0, 1, 2, 3])
    seen = (memory.images_seen, dict(zip(memory.classes, memory.classes_seen.tolist())))
    assert seen == (4, dict(b=0, a=0, d=4))
    labels = dict(LABELS, m0=(3, 0), m1=(0, 3))
    later = memory_of(make(tmp_path / 'later', [refer('n0', ('d', ), ('d', ))], 2, labels, seen=seen), 1)
    assert later.classes == ('b', 'a', 'd', 'c') and later.classes_seen.tolist() == [0, 0, 4, 0]
    later.offer([0, 1])
    assert later.images_seen == 6 and later.classes_seen.tolist() == [0, 0, 4, 2]
