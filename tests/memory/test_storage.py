import numpy as np
import pytest
from PIL import Image

from mmcss.datasets import StepDataset
from mmcss.memory import Exemplar, WithMemory
from tests.makers import LABELS, folder_config, mapped, split_of, stems, write_folder
from tests.memory.memories import write_memory

# Learning order: background, b, a, d, c.
STEPS = (('b', 'a'), ('d', ), ('c', ))


def refer(stem, labelled=('b', 'a'), leaf=0, **options):
    """A remembered image of the data set."""
    return Exemplar(leaf, f'{stem}.jpg', tuple(labelled), (), **options)


def remember(root, config, *exemplars):
    """Path of the memory of a step before."""
    return write_memory(root / 'step_0' / 'memory.json', config, exemplars)


def make(root, *exemplars, step=1, labels='stored', config=None, regime='overlapped', **view):
    config = config or folder_config(root)
    return WithMemory(config, split_of(STEPS, step, regime=regime), dict(role='train', regime=regime, **view),
                      path=remember(root, config, *exemplars), labels=labels)


def replayed(dataset):
    """Labels of the remembered images, in their order."""
    return [mapped(dataset[len(dataset) + i]) for i in range(dataset.num_memory)]


MEMORY = (refer('i0'), refer('i2'), refer('i6'))


@pytest.mark.parametrize('step, labels, values', [
    # Files hold i0 (0, 1), i2 (4, 1, 255), i6 (2, 0); of the classes, b is 1, a 2 and d 3.
    # Step 1 has i2 as well, step 2 none of them.
    (1, 'stored', [[0, 2], [3, 2, 255], [1, 0]]),
    (2, 'stored', [[0, 2], [0, 2, 255], [1, 0]]),
    (1, 'seen', [[0, 2], [3, 2, 255], [1, 0]]),
    (2, 'seen', [[0, 2], [3, 2, 255], [1, 0]]),
    # One channel too low, and background is unknown, 4 and then 5.
    (1, 'unshifted', [[4, 1], [2, 1, 255], [0, 4]]),
    (2, 'unshifted', [[5, 1], [2, 1, 255], [0, 5]]),
])
def test_labels_of_remembered_images(tmp_path, step, labels, values):
    assert replayed(make(tmp_path, *MEMORY, step=step, labels=labels)) == values


def test_each_exemplar_shows_the_classes_that_it_is_labelled_for(tmp_path):
    """At step 2 one and the same image is remembered for several sets of classes."""
    exemplars = [refer('i2', names) for names in (('b', 'a'), ('d', ), ('b', 'a', 'd'), ())]
    assert replayed(make(tmp_path, *exemplars, step=2)) == [[0, 2, 255], [3, 0, 255], [3, 2, 255], [0, 0, 255]]


def test_classes_to_come_stay_background(tmp_path):
    """i3 holds d and c, of which d is new at step 1."""
    assert replayed(make(tmp_path, refer('i3', ('b', 'a')), labels='seen')) == [[3, 0]]
    assert replayed(make(tmp_path, refer('i3'), refer('i3', ('d', )), labels='stored')) == [[3, 0], [3, 0]]
    assert replayed(make(tmp_path, refer('i3'), labels='unshifted')) == [[2, 4]]


def test_images_of_the_step_keep_their_labels(tmp_path):
    for labels in ('stored', 'seen', 'unshifted'):
        dataset = make(tmp_path, *MEMORY, labels=labels)
        assert stems(dataset) == ['i1', 'i2', 'i3']
        assert [mapped(dataset[i]) for i in range(3)] == [[0, 3], [3, 0, 255], [3, 0]]


def test_remembered_images_do_not_count(tmp_path):
    plain = StepDataset(folder_config(tmp_path), split_of(STEPS, 1), dict(role='train'))
    dataset = make(tmp_path, *MEMORY)
    assert len(dataset) == len(plain) == 3
    assert dataset.num_memory == 3
    assert dataset.metainfo == plain.metainfo
    names = [dataset.get_data_info(len(dataset) + i)['img_path'] for i in range(3)]
    assert [name.rsplit('/', 1)[1] for name in names] == ['i0.jpg', 'i2.jpg', 'i6.jpg']


def test_remembered_images_stand_behind_repeated_ones(tmp_path):
    config = folder_config(tmp_path)
    dataset = WithMemory(config, split_of(STEPS, 1), dict(role='train'), min_length=8,
                         path=remember(tmp_path, config, *MEMORY))
    assert len(dataset) == 8
    assert mapped(dataset[7]) == [3, 0, 255]
    assert replayed(dataset) == [[0, 2], [3, 2, 255], [1, 0]]


def test_an_empty_memory(tmp_path):
    dataset = make(tmp_path)
    assert dataset.num_memory == 0
    assert [mapped(dataset[i]) for i in range(3)] == [[0, 3], [3, 0, 255], [3, 0]]


def test_an_image_loads_the_same_again(tmp_path):
    dataset = make(tmp_path, *MEMORY)
    assert replayed(dataset) == replayed(dataset) == [[0, 2], [3, 2, 255], [1, 0]]


# Step 1 has i2 and its d; step 2 does not, and its d is background if it was when i2 was stored.
MARKED = [
    (1, 'stored', [[4, 2], [3, 2, 255], [1, 4]]),
    (2, 'stored', [[5, 2], [5, 2, 255], [1, 5]]),
    (1, 'seen', [[4, 2], [3, 2, 255], [1, 4]]),
    (2, 'seen', [[5, 2], [3, 2, 255], [1, 5]]),
]


@pytest.mark.parametrize('step, labels, values', MARKED)
def test_all_background_of_remembered_images_is_unknown(tmp_path, step, labels, values):
    assert replayed(make(tmp_path, *MEMORY, step=step, labels=labels, unknown='background')) == values


def test_ignored_pixels_of_remembered_images_as_background(tmp_path):
    assert replayed(make(tmp_path, refer('i2'), ignore_as_background=True)) == [[3, 2, 0]]
    assert replayed(make(tmp_path, refer('i2'), ignore_as_background=True, unknown='background')) == [[3, 2, 4]]


def test_sequential_exemplars_show_all_that_was_seen(tmp_path):
    exemplars = (refer('i2', ('b', 'a', 'd')), )
    assert replayed(make(tmp_path, *exemplars, step=2, regime='sequential')) == [[3, 2, 255]]


def test_a_reference_into_the_second_data_set(tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    config = dict(type='ConcatDataset', datasets=[
        folder_config(first, {'i0': (0, 4)}), folder_config(second, {'i0': (1, 2), 'i1': (4, 2)}),
    ])
    dataset = make(tmp_path, refer('i0', leaf=1), refer('i0', leaf=0), config=config)
    assert replayed(dataset) == [[2, 1], [0, 3]]


def test_a_reference_below_a_folder(tmp_path):
    write_folder(tmp_path, {'town/x': (1, 0)})
    dataset = make(tmp_path, refer('town/x'))
    assert replayed(dataset) == [[2, 0]]


def test_a_reference_where_zero_is_thrown_away(tmp_path):
    """As in ADE20K: the files hold a 1, b 2, c 3, d 4 and 0 for none of them."""
    config = folder_config(tmp_path, classes=('a', 'b', 'c', 'd'), reduce_zero_label=True)
    assert replayed(make(tmp_path, *MEMORY, config=config)) == [[0, 2], [3, 2, 255], [1, 0]]
    assert replayed(make(tmp_path, *MEMORY, step=2, config=config)) == [[0, 2], [0, 2, 255], [1, 0]]


@pytest.mark.parametrize('labels', ['stored', 'seen', 'unshifted'])
def test_a_reference_whose_file_is_gone(tmp_path, labels):
    config = folder_config(tmp_path)
    (tmp_path / 'images' / 'i0.jpg').unlink()
    message = r'the remembered image i0\.jpg is no longer in the data set, and .*i0\.jpg, from where .*export=True'
    with pytest.raises(FileNotFoundError, match=message):
        make(tmp_path, *MEMORY, config=config, labels=labels)


def test_no_memory_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match='memory.json is missing: the step before was trained without'):
        WithMemory(folder_config(tmp_path), split_of(STEPS, 1), dict(role='train'), path=str(tmp_path / 'memory.json'))


# Exemplars that the step has as well.


def test_an_image_that_the_step_brings_shows_its_new_classes(tmp_path):
    """i2 and i3 hold d, which is new; c of i3 is still to come."""
    exemplars = [refer('i2'), refer('i2', ('a', )), refer('i2', ()), refer('i3'), refer('i0')]
    assert replayed(make(tmp_path, *exemplars)) == [[3, 2, 255], [3, 2, 255], [3, 0, 255], [3, 0], [0, 2]]


def test_an_image_that_a_later_step_brings(tmp_path):
    """Step 2 has i3 for its c; d stays what it was stored as, also in i2, which has no c."""
    exemplars = [refer('i3', ('d', )), refer('i3'), refer('i2'), refer('i2', ('b', 'a', 'd'))]
    assert replayed(make(tmp_path, *exemplars, step=2)) == [[3, 4], [0, 4], [0, 2, 255], [3, 2, 255]]


@pytest.mark.parametrize('regime, values', [('overlapped', [3, 0]), ('disjoint', [0, 0]), ('sequential', [0, 0])])
def test_an_image_that_the_regime_leaves_out_keeps_its_labels(tmp_path, regime, values):
    """i3 holds the new d, but c is still to come."""
    dataset = make(tmp_path, refer('i3'), refer('i2'), regime=regime)
    assert stems(dataset) == (['i1', 'i2', 'i3'] if regime == 'overlapped' else ['i1', 'i2'])
    assert replayed(dataset) == [values, [3, 2, 255]]


@pytest.mark.parametrize('options', [dict(regime='sequential'), dict(keep_old_labels=True)])
def test_a_step_that_keeps_old_labels_brings_these(tmp_path, options):
    """To i2 and i1, which hold d, but not to i0 and i6."""
    exemplars = [refer(stem, ()) for stem in ('i2', 'i1', 'i0', 'i6')]
    assert replayed(make(tmp_path, *exemplars, **options)) == [[3, 2, 255], [0, 3], [0, 0], [0, 0]]


@pytest.mark.parametrize('labels, values', [
    ('seen', [[3, 2, 255], [3, 0], [0, 2]]), ('unshifted', [[2, 1, 255], [2, 4], [4, 1]]),
])
def test_other_labels_are_those_of_all_seen_classes_anyway(tmp_path, labels, values):
    """Overlapped has i2 and i3, disjoint i2 alone; none was labelled for a class when it was stored."""
    exemplars = [refer('i2', ()), refer('i3', ()), refer('i0', ())]
    for regime in ('overlapped', 'disjoint'):
        assert replayed(make(tmp_path, *exemplars, labels=labels, regime=regime)) == values


@pytest.mark.parametrize('leaf', [0, 1])
def test_an_image_of_a_repeated_data_set_that_the_step_brings(tmp_path, leaf):
    config = dict(type='RepeatDataset', dataset=folder_config(tmp_path), times=2)
    exemplars = [refer('i2', leaf=leaf), refer('i3', leaf=leaf)]
    assert replayed(make(tmp_path, *exemplars, config=config)) == [[3, 2, 255], [3, 0]]
    assert replayed(make(tmp_path, *exemplars, config=config, regime='disjoint')) == [[3, 2, 255], [0, 0]]


@pytest.mark.parametrize('regime, values', [('overlapped', [[0, 3], [3, 0]]), ('disjoint', [[0, 3], [0, 0]])])
def test_the_step_brings_an_image_of_one_of_two_data_sets(tmp_path, regime, values):
    """Both have an x that holds d; as disjoint, the second's, which holds c as well, is left out."""
    config = dict(type='ConcatDataset', datasets=[
        folder_config(tmp_path / name, {'x': held}) for name, held in (('one', (0, 4)), ('two', (4, 3)))])
    assert replayed(make(tmp_path, refer('x'), refer('x', leaf=1), config=config, regime=regime)) == values


# Saliency maps.


def mark(root, maps):
    """Saliency maps of these values by file, each value twice in a row as in the label maps."""
    for path, values in maps.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.repeat(np.asarray(values, np.uint8), 2), (2, 1))).save(root / path)


def salient(root, *exemplars, step=1, labels='stored', regime='overlapped'):
    config = folder_config(root)
    mark(root, {f'saliency_map/{stem}.png': [1] * len(values) for stem, values in LABELS.items()})
    return WithMemory(
        config, split_of(STEPS, step, regime=regime), dict(role='train', unknown='saliency', regime=regime),
        saliency='saliency_map', path=remember(root, config, *exemplars), labels=labels)


@pytest.mark.parametrize('step, labels, values', MARKED)
def test_salient_background_of_remembered_images_is_unknown(tmp_path, step, labels, values):
    assert replayed(salient(tmp_path, *MEMORY, step=step, labels=labels)) == values


@pytest.mark.parametrize('regime, values', [('overlapped', [3, 4]), ('disjoint', [4, 4])])
def test_new_classes_are_unknown_where_the_step_does_not_bring_them(tmp_path, regime, values):
    """i3 holds d and c: by its saliency map, and where all background is unknown."""
    assert replayed(salient(tmp_path, refer('i3'), regime=regime)) == [values]
    assert replayed(make(tmp_path, refer('i3'), regime=regime, unknown='background')) == [values]


def test_unshifted_labels_are_not_marked_as_well(tmp_path):
    """SSUL's released code reads the saliency maps of the step's images alone (datasets/voc.py).

    The first class of a remembered image is read as background and stays that.
    """
    assert replayed(salient(tmp_path, *MEMORY, labels='unshifted')) == [[4, 1], [2, 1, 255], [0, 4]]


def test_unshifted_labels_where_all_background_is_unknown(tmp_path):
    """They hold unknown already; no class may take its place, and the first class stays background."""
    found = replayed(make(tmp_path, *MEMORY, labels='unshifted', unknown='background'))
    assert found == [[4, 1], [2, 1, 255], [0, 4]]
