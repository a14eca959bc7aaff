import numpy as np
import pytest
from PIL import Image

from mmcss.datasets import StepDataset
from mmcss.datasets.exemplars import Exemplar, ExemplarMemory
from mmcss.datasets.remembered import unshifted
from mmcss.scenario import IGNORE, Split
from tests.makers import LABELS, PIPELINE, folder_config, mapped, split_of, stems, write_folder, write_pair

# Learning order: background, b, a, d, c.
STEPS = (('b', 'a'), ('d', ), ('c', ))


def refer(stem, labelled=('b', 'a'), leaf=0, **options):
    """An image of the data set, remembered by its name."""
    return Exemplar(leaf, f'{stem}.jpg', tuple(labelled), (), **options)


def remember(root, *exemplars):
    """Path of the memory of a step before."""
    path = root / 'step_0' / 'memory.json'
    path.parent.mkdir(exist_ok=True)
    ExemplarMemory(list(exemplars)).save(path)
    return str(path)


def copied(root, values, number=0, **options):
    """An image of which a copy is remembered, with labels in learning order."""
    image, labels = f'memory/images/{number:05d}.jpg', f'memory/labels/{number:05d}.png'
    write_pair(root / 'step_0' / image, root / 'step_0' / labels, values)
    return Exemplar(0, f'gone{number}.jpg', ('b', 'a'), ('a', ), image=image, labels=labels, **options)


def make(root, *exemplars, step=1, labels='stored', config=None, regime='overlapped', **view):
    return StepDataset(
        config or folder_config(root), split_of(STEPS, step, regime=regime), dict(role='train', regime=regime, **view),
        memory=dict(path=remember(root, *exemplars), labels=labels))


def replayed(dataset):
    """Labels of the remembered images, in their order."""
    return [mapped(dataset[len(dataset) + i]) for i in range(dataset.num_memory)]


MEMORY = (refer('i0'), refer('i2'), refer('i6'))


@pytest.mark.parametrize('labels, values', [
    # Files hold i0 (0, 1), i2 (4, 1, 255), i6 (2, 0); of the classes, b is 1, a 2 and d 3.
    ('stored', [[0, 2], [0, 2, 255], [1, 0]]),
    ('seen', [[0, 2], [3, 2, 255], [1, 0]]),
    # One channel too low, and background is unknown, 4.
    ('unshifted', [[4, 1], [2, 1, 255], [0, 4]]),
])
def test_labels_of_remembered_images(tmp_path, labels, values):
    assert replayed(make(tmp_path, *MEMORY, labels=labels)) == values


def test_each_exemplar_shows_the_classes_that_it_is_labelled_for(tmp_path):
    """At step 2 one and the same image is remembered for several sets of classes."""
    exemplars = [refer('i2', names) for names in (('b', 'a'), ('d', ), ('b', 'a', 'd'), ())]
    assert replayed(make(tmp_path, *exemplars, step=2)) == [[0, 2, 255], [3, 0, 255], [3, 2, 255], [0, 0, 255]]


def test_classes_to_come_stay_background(tmp_path):
    """i3 holds d and c, of which d is new at step 1."""
    assert replayed(make(tmp_path, refer('i3', ('b', 'a')), labels='seen')) == [[3, 0]]
    assert replayed(make(tmp_path, refer('i3', ('d', )), labels='stored')) == [[3, 0]]
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
    assert (plain.num_memory, dataset.num_memory) == (0, 3)
    assert dataset.metainfo == plain.metainfo
    names = [dataset.get_data_info(len(dataset) + i)['img_path'] for i in range(3)]
    assert [name.rsplit('/', 1)[1] for name in names] == ['i0.jpg', 'i2.jpg', 'i6.jpg']


def test_remembered_images_stand_behind_repeated_ones(tmp_path):
    dataset = StepDataset(folder_config(tmp_path), split_of(STEPS, 1), dict(role='train'), min_length=8,
                          memory=dict(path=remember(tmp_path, *MEMORY)))
    assert len(dataset) == 8
    assert mapped(dataset[7]) == [3, 0, 255]
    assert replayed(dataset) == [[0, 2], [0, 2, 255], [1, 0]]


def test_an_empty_memory(tmp_path):
    dataset = make(tmp_path)
    assert dataset.num_memory == 0
    assert [mapped(dataset[i]) for i in range(3)] == [[0, 3], [3, 0, 255], [3, 0]]


def test_an_image_loads_the_same_again(tmp_path):
    dataset = make(tmp_path, *MEMORY, copied(tmp_path, (0, 2)))
    assert replayed(dataset) == replayed(dataset) == [[0, 2], [0, 2, 255], [1, 0], [0, 2]]


@pytest.mark.parametrize('labels', ['stored', 'seen'])
def test_all_background_of_remembered_images_is_unknown(tmp_path, labels):
    found = replayed(make(tmp_path, *MEMORY, labels=labels, unknown='background'))
    assert found == [[4, 2], [4 if labels == 'stored' else 3, 2, 255], [1, 4]]


def test_ignored_pixels_of_remembered_images_as_background(tmp_path):
    assert replayed(make(tmp_path, refer('i2'), ignore_as_background=True)) == [[0, 2, 0]]
    assert replayed(make(tmp_path, refer('i2'), ignore_as_background=True, unknown='background')) == [[4, 2, 4]]


def test_sequential_exemplars_show_all_that_was_seen(tmp_path):
    exemplars = (refer('i2', ('b', 'a', 'd')), )
    assert replayed(make(tmp_path, *exemplars, step=2, regime='sequential')) == [[3, 2, 255]]


def test_a_reference_into_the_second_data_set(tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    config = dict(type='ConcatDataset', datasets=[
        folder_config(first, {'i0': (0, 4)}), folder_config(second, {'i0': (1, 2), 'i1': (4, 2)}),
    ])
    dataset = make(tmp_path, refer('i0', leaf=1), refer('i0', leaf=0), config=config)
    assert replayed(dataset) == [[2, 1], [0, 0]]


def test_a_reference_below_a_folder(tmp_path):
    write_folder(tmp_path, {'town/x': (1, 0)})
    dataset = make(tmp_path, refer('town/x'))
    assert replayed(dataset) == [[2, 0]]


def test_a_reference_where_zero_is_thrown_away(tmp_path):
    """As in ADE20K: the files hold a 1, b 2, c 3, d 4 and 0 for none of them."""
    config = folder_config(tmp_path, classes=('a', 'b', 'c', 'd'), reduce_zero_label=True)
    dataset = make(tmp_path, *MEMORY, copied(tmp_path, (0, 2, 1, 255)), config=config)
    assert replayed(dataset) == [[0, 2], [0, 2, 255], [1, 0], [0, 2, 1, 255]]


@pytest.mark.parametrize('labels', ['stored', 'seen', 'unshifted'])
def test_a_reference_whose_file_is_gone(tmp_path, labels):
    config = folder_config(tmp_path)
    (tmp_path / 'images' / 'i0.jpg').unlink()
    message = r'the remembered image i0\.jpg is no longer in the data set; .*export=True'
    with pytest.raises(FileNotFoundError, match=message):
        make(tmp_path, *MEMORY, config=config, labels=labels)


def test_no_memory_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match='memory.json is missing: the step before was trained without'):
        StepDataset(folder_config(tmp_path), split_of(STEPS, 1), dict(role='train'),
                    memory=dict(path=str(tmp_path / 'memory.json')))


def test_unknown_labels(tmp_path):
    with pytest.raises(ValueError, match="memory.labels: got 'all', valid are stored, seen, unshifted"):
        make(tmp_path, *MEMORY, labels='all')


# Copies.


def test_a_copy_brings_labels_in_learning_order(tmp_path):
    """What no class seen so far has is ignored."""
    dataset = make(tmp_path, copied(tmp_path, (0, 1, 2, 3, 4, 7, 255)))
    assert replayed(dataset) == [[0, 1, 2, 3, 255, 255, 255]]
    info = dataset.get_data_info(3)
    assert info['img_path'] == str(tmp_path / 'step_0' / 'memory/images/00000.jpg')
    assert info['seg_map_path'] == str(tmp_path / 'step_0' / 'memory/labels/00000.png')


def test_background_of_a_copy_is_unknown(tmp_path):
    assert replayed(make(tmp_path, copied(tmp_path, (0, 1, 2, 255)), unknown='background')) == [[4, 1, 2, 255]]


def test_copies_and_references_side_by_side(tmp_path):
    dataset = make(tmp_path, copied(tmp_path, (2, 0)), refer('i2'), copied(tmp_path, (0, 1), 1))
    assert replayed(dataset) == [[2, 0], [0, 2, 255], [0, 1]]


@pytest.mark.parametrize('labels', ['seen', 'unshifted'])
def test_a_copy_has_no_other_labels(tmp_path, labels):
    with pytest.raises(ValueError, match=f"memory.labels: '{labels}' asks for labels that a copy has not"):
        make(tmp_path, copied(tmp_path, (0, 1)), labels=labels)


def test_a_copy_of_a_data_set_that_is_gone(tmp_path):
    """It is loaded as the last of those that are left."""
    exemplar = copied(tmp_path, (0, 2))
    there = Exemplar(5, exemplar.name, exemplar.labelled, exemplar.holds, exemplar.image, exemplar.labels)
    assert replayed(make(tmp_path, there)) == [[0, 2]]


def test_a_copy_goes_through_the_pipeline(tmp_path):
    """Its image and its labels are those of the copy."""
    exemplar = copied(tmp_path, (0, 2, 1))
    pixels = np.full((2, 6, 3), 200, dtype=np.uint8)
    pixels[:, :2] = 0
    Image.fromarray(pixels).save(tmp_path / 'step_0' / exemplar.image, quality=100)
    pipeline = [*PIPELINE[:2], dict(type='RandomFlip', prob=1.), PIPELINE[2]]
    data = make(tmp_path, exemplar, config=folder_config(tmp_path, pipeline=pipeline))[3]
    assert mapped(data) == [1, 2, 0]
    assert (data['inputs'][:, :, -2:] < 60).all() and (data['inputs'][:, :, :4] > 140).all()


# Saliency maps.


def mark(root, maps):
    """Saliency maps of these values by file, each value twice in a row as in the label maps."""
    for path, values in maps.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.repeat(np.asarray(values, np.uint8), 2), (2, 1))).save(root / path)


def salient(root, *exemplars, labels='stored'):
    config = folder_config(root)
    mark(root, {f'saliency_map/{stem}.png': [1] * len(values) for stem, values in LABELS.items()})
    return StepDataset(
        config, split_of(STEPS, 1), dict(role='train', unknown='saliency'), saliency='saliency_map',
        memory=dict(path=remember(root, *exemplars), labels=labels))


@pytest.mark.parametrize('labels, values', [
    ('stored', [[4, 2], [4, 2, 255], [1, 4]]),
    ('seen', [[4, 2], [3, 2, 255], [1, 4]]),
])
def test_salient_background_of_remembered_images_is_unknown(tmp_path, labels, values):
    assert replayed(salient(tmp_path, *MEMORY, labels=labels)) == values


def test_saliency_of_a_copy_is_its_own(tmp_path):
    mark(tmp_path / 'step_0', {'memory/saliency/00000.png': [0, 9, 9, 9]})
    exemplar = copied(tmp_path, (0, 0, 1, 255), saliency='memory/saliency/00000.png')
    assert replayed(salient(tmp_path, exemplar)) == [[0, 4, 1, 255]]


def test_unshifted_labels_are_not_marked_as_well(tmp_path):
    """SSUL's released code reads the saliency maps of the step's images alone (datasets/voc.py).

    The first class of a remembered image is read as background and stays that.
    """
    assert replayed(salient(tmp_path, *MEMORY, labels='unshifted')) == [[4, 1], [2, 1, 255], [0, 4]]


def test_unshifted_labels_where_all_background_is_unknown(tmp_path):
    """They hold unknown already; no class may take its place, and the first class stays background."""
    found = replayed(make(tmp_path, *MEMORY, labels='unshifted', unknown='background'))
    assert found == [[4, 1], [2, 1, 255], [0, 4]]


# The table of SSUL's released code.


def test_unshifted_table():
    split = Split.from_dict(split_of(STEPS, 1))
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[:6] = [0, 1, 2, 3, 0, 255]
    found = unshifted(table, split)
    assert found.dtype == np.uint8
    assert found[:6].tolist() == [4, 0, 1, 2, 4, 255]
    assert (found[6:] == IGNORE).all()
    assert table[:6].tolist() == [0, 1, 2, 3, 0, 255]
