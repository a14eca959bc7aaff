"""Remembered images go by what they are, wherever the data of a later step lies."""
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcss.datasets.class_names import name_classes
from mmcss.datasets.sources import file_values
from mmcss.memory import Memory, WithMemory
from mmcss.memory.copies import written
from mmcss.memory.places import digest_of
from tests.makers import folder_config, mapped, split_of
from tests.memory.buffers import candidates_of

# Learning order: background, b, a, d, c. Files hold background 0, a 1, b 2, c 3, d 4.
STEPS = (('b', 'a'), ('d', ), ('c', ))
OLD = {'x': (0, 1), 'y': (2, 0), 'both': (1, 4)}
NEW = {'x': (4, 0), 'y': (0, 4)}


def folder(root, labels, colour=0, **options):
    """The config of a data set whose images are of one grey, so that those of two data sets differ."""
    config = folder_config(root, labels, **options)
    for stem, values in labels.items():
        pixels = np.full((2, 2 * len(values), 3), colour, dtype=np.uint8)
        Image.fromarray(pixels).save(root / 'images' / f'{stem}.jpg')
    return config


def concat(*configs):
    return dict(type='ConcatDataset', datasets=list(configs))


def open_step(config, step=0, memory=None, labels='stored', saliency=None):
    return WithMemory(config, split_of(STEPS, step), dict(role='train', unknown='saliency' if saliency else None),
                      path=None if memory is None else str(memory), labels=labels, saliency=saliency)


def leave(dataset, path, export=False):
    """``memory.json`` of all that a step may remember."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Memory(written(dataset, candidates_of(dataset), path.parent, export)).save(path)
    return path


def replayed(dataset):
    """The file and the labels of each remembered image, by name."""
    return {exemplar.name: (dataset.get_data_info(number)['img_path'], mapped(dataset[number]))
            for number, exemplar in enumerate(dataset.memory.exemplars, len(dataset))}


@pytest.fixture
def memory(tmp_path):
    """Of step 0 on the data set 'old'."""
    return leave(open_step(folder(tmp_path / 'old', OLD, 50)), tmp_path / 'run/step_0/memory.json')


def expected(folder):
    """What step 1 shows of the images of 'old', which it does not have."""
    return {f'{stem}.jpg': (f'{folder}/images/{stem}.jpg', values)
            for stem, values in {'x': [0, 2], 'y': [1, 0], 'both': [2, 0]}.items()}


def test_another_data_set_with_files_of_the_same_names(tmp_path, memory):
    dataset = open_step(folder(tmp_path / 'new', NEW, 90), 1, memory)
    assert [mapped(dataset[i]) for i in range(2)] == [[3, 0], [0, 3]]
    assert replayed(dataset) == expected(tmp_path / 'old')
    # All of them are candidates, and the next step finds each again.
    again = leave(dataset, tmp_path / 'run/step_1/memory.json')
    last = open_step(folder(tmp_path / 'last', {'x': (3, 0)}), 2, again)
    assert last.num_memory == 5
    assert sorted(mapped(last[1 + i]) for i in range(5)) == [[0, 2], [0, 3], [1, 0], [2, 0], [3, 0]]


@pytest.mark.parametrize('labels, values', [('seen', [2, 3]), ('unshifted', [1, 2])])
def test_other_labels_of_another_data_set(tmp_path, memory, labels, values):
    dataset = open_step(folder(tmp_path / 'new', NEW, 90), 1, memory, labels)
    assert replayed(dataset)['both.jpg'][1] == values


def test_copies_are_not_taken_for_images_of_the_same_name(tmp_path):
    """Both have an x; the new one is of the step, and shows all that the copy is remembered for."""
    old = open_step(folder(tmp_path / 'old', {'x': (1, 0), 'y': (2, 0)}, 50))
    memory = leave(old, tmp_path / 'run/step_0/memory.json', export=True)
    shutil.rmtree(tmp_path / 'old')
    dataset = open_step(folder(tmp_path / 'new', {'x': (4, 1)}, 90), 1, memory)
    copies = tmp_path / 'run/step_0/memory/images'
    assert replayed(dataset) == {'x.jpg': (f'{copies}/00000.jpg', [2, 0]), 'y.jpg': (f'{copies}/00001.jpg', [1, 0])}
    assert len(candidates_of(dataset)) == 3


@pytest.mark.parametrize('export', [False, True])
def test_a_data_set_that_has_moved(tmp_path, export):
    """Step 1 has 'both' too, as one image with both labels, from where it lies now."""
    config = folder(tmp_path / 'old', {**OLD, 'z': (4, 0)}, 50)
    memory = leave(open_step(config), tmp_path / 'run/step_0/memory.json', export)
    shutil.move(tmp_path / 'old', tmp_path / 'moved')
    dataset = open_step(dict(config, data_root=str(tmp_path / 'moved')), 1, memory)
    images = replayed(dataset)
    assert images['both.jpg'] == (f'{tmp_path}/moved/images/both.jpg', [2, 3])
    assert {name: values for name, (_, values) in images.items()} == {'x.jpg': [0, 2], 'y.jpg': [1, 0], 'both.jpg': [2, 3]}
    both, = (candidate.exemplar for candidate in candidates_of(dataset) if candidate.exemplar.name == 'both.jpg')
    assert both.labelled == ('b', 'a', 'd') and len(candidates_of(dataset)) == 4


def test_data_sets_in_another_order_and_taken_out(tmp_path):
    parts = [folder(tmp_path / name, {'x': values}, colour) for name, values, colour in (
        ('first', (1, 0), 10), ('second', (2, 4), 20), ('third', (1, 4), 30))]
    memory = leave(open_step(concat(*parts)), tmp_path / 'run/step_0/memory.json')
    assert [exemplar.leaf for exemplar in Memory.load(memory).exemplars] == [0, 1, 2]
    repeated = dict(type='RepeatDataset', dataset=parts[1], times=2)
    for config, leaves in ((concat(*parts[::-1]), [2, 1, 0]), (concat(repeated, parts[2]), [None, 0, 2]),
                           (parts[1], [None, 0, None])):
        dataset = open_step(config, 1, memory)
        assert [exemplar.leaf for exemplar in dataset.memory.exemplars] == leaves
        # d is labelled where the step has the image.
        values = [mapped(dataset[len(dataset) + i]) for i in range(3)]
        assert values == [[2, 0], [1, 3], [2, 3 if leaves[2] is not None else 0]]
        # Of two without a leaf none is lost.
        assert len(candidates_of(dataset)) == 3


def test_an_image_in_two_data_sets_stays_with_its_own(tmp_path):
    parts = [folder(tmp_path / name, {'x': (1, 2, 4)}, 10) for name in ('first', 'second')]
    memory = leave(open_step(concat(*parts)), tmp_path / 'run/step_0/memory.json')
    dataset = open_step(concat(*parts), 1, memory)
    assert [exemplar.leaf for exemplar in dataset.memory.exemplars] == [0, 1]


def test_another_data_set_whose_numbers_are_its_own(tmp_path):
    """There d is 1 and a is 3; a stock data set of chosen classes renumbers them besides."""
    old = folder(tmp_path / 'old', {'x': (3, 0), 'y': (2, 3)}, 50, classes=('background', 'd', 'b', 'a', 'c'))
    memory = leave(open_step(old), tmp_path / 'run/step_0/memory.json')
    images = replayed(open_step(folder(tmp_path / 'new', NEW, 90), 1, memory))
    assert {name: values for name, (_, values) in images.items()} == {'x.jpg': [2, 0], 'y.jpg': [1, 2]}


@pytest.mark.parametrize('label_map, reduce_zero_label, values', [
    (None, False, dict(background=0, a=1, b=2)),
    ({0: 255, 1: 0, 2: 255, 3: 1, 4: 2}, False, dict(background=1, a=3, b=4)),
    ({0: 255, 1: 0, 2: 1, 3: 2}, True, dict(background=2, a=3, b=4)),
])
def test_values_in_the_files(label_map, reduce_zero_label, values):
    names = name_classes(('background', 'a', 'b'), reduce_zero_label)
    assert file_values(names, dict(label_map=label_map, reduce_zero_label=reduce_zero_label)) == values


def test_the_images_of_another_data_set_are_copied_on(tmp_path, memory):
    dataset = open_step(folder(tmp_path / 'new', NEW, 90), 1, memory)
    again = leave(dataset, tmp_path / 'run/step_1/memory.json', export=True)
    shutil.rmtree(tmp_path / 'old')
    shutil.rmtree(tmp_path / 'new')
    last = open_step(folder(tmp_path / 'last', {'x': (3, 0)}), 2, again)
    assert sorted(mapped(last[1 + i]) for i in range(5)) == [[0, 2], [0, 3], [1, 0], [2, 0], [3, 0]]


def test_images_of_another_data_set_that_are_gone(tmp_path, memory):
    new = folder(tmp_path / 'new', NEW, 90)
    gone = tmp_path / 'old/labels/y.png'
    gone.unlink()
    message = (f'the remembered image y.jpg is no longer in the data set, and {gone}, from where it was chosen, '
               'can not be read (FileNotFoundError)')
    with pytest.raises(FileNotFoundError, match=re.escape(message) + '.*export=True'):
        open_step(new, 1, memory)


@pytest.mark.parametrize('kind', ['images/y.jpg', 'labels/y.png'])
def test_another_image_lies_in_its_place(tmp_path, memory, kind):
    """The folder of step 0 holds other data by now."""
    shutil.copy(tmp_path / 'old' / kind.replace('y', 'x'), tmp_path / 'old' / kind)
    if kind.startswith('images'):
        Image.new('RGB', (4, 2), (99, 0, 0)).save(tmp_path / 'old' / kind)
    for config in (folder(tmp_path / 'new', NEW, 90), folder_config(tmp_path / 'old', {'more': (4, 0)})):
        with pytest.raises(ValueError, match=r'memory\.json names the image .*y\.jpg, but that file or its label map '
                                             r'.*y\.png has been replaced since; .*export=True'):
            open_step(config, 1, memory)


def test_the_loader_of_a_data_set_of_that_kind(tmp_path):
    """Copies and images of other data are loaded by a pipeline for files of their suffix."""
    memory = leave(open_step(folder(tmp_path / 'old', OLD, 50)), tmp_path / 'run/step_0/memory.json')
    parts = folder(tmp_path / 'new', NEW, 90), folder(tmp_path / 'arrays', {'z': (4, 0)}, img_suffix='.npy')
    Image.new('RGB', (4, 2)).save(tmp_path / 'arrays/images/z.png')
    (tmp_path / 'arrays/images/z.png').rename(tmp_path / 'arrays/images/z.npy')
    for config, leaf in ((concat(*parts), 0), (concat(*parts[::-1]), 1)):
        dataset = open_step(config, 1, memory)
        assert {dataset.locate(len(dataset) + i)[0] for i in range(dataset.num_memory)} == {leaf}


def test_saliency_maps_of_another_data_set(tmp_path):
    config = folder(tmp_path / 'old', OLD, 50)
    new = folder(tmp_path / 'new', NEW, 90)
    for name, stems in (('old', OLD), ('new', NEW)):
        (tmp_path / name / 'maps').mkdir()
        for stem in stems:
            Image.fromarray(np.tile(np.array([0, 0, 9, 9], np.uint8), (2, 1))).save(tmp_path / name / 'maps' / f'{stem}.png')
    with_maps = leave(open_step(config, saliency='maps'), tmp_path / 'run/step_0/memory.json')
    # Unknown is 4 at step 1.
    assert replayed(open_step(new, 1, with_maps, saliency='maps'))['y.jpg'][1] == [1, 4]
    without = leave(open_step(config), tmp_path / 'other/step_0/memory.json')
    with pytest.raises(ValueError, match=r'old/images/.\w*\.jpg was chosen without a saliency map'):
        open_step(new, 1, without, saliency='maps')


def test_what_is_no_file_goes_by_its_name(tmp_path):
    """A custom loader may read from elsewhere."""
    leaf = open_step(folder(tmp_path, {'x': (1, 0), 'y': (2, 0)})).images.leaves[0]
    files = [str(tmp_path / name) for name in ('images/x.jpg', 'labels/x.png')]
    assert digest_of(leaf, *files) == digest_of(leaf, *files) != digest_of(leaf, *files[::-1])
    assert digest_of(leaf, 'scene/1', files[1]) != digest_of(leaf, 'scene/2', files[1])


def test_a_copy_that_is_gone(tmp_path):
    memory = leave(open_step(folder(tmp_path / 'old', OLD, 50)), tmp_path / 'run/step_0/memory.json', export=True)
    gone = Path(memory).parent / 'memory/labels/00001.png'
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f'{gone}, a copy of the remembered image ') + r'\w+\.jpg, is missing'):
        open_step(folder(tmp_path / 'new', NEW, 90), 1, memory)


def test_sources_are_renewed_where_the_data_lies_now(tmp_path):
    config = folder(tmp_path / 'old', {**OLD, 'z': (4, 0)}, 50)
    memory = leave(open_step(config), tmp_path / 'run/step_0/memory.json')
    shutil.move(tmp_path / 'old', tmp_path / 'moved')
    dataset = open_step(dict(config, data_root=str(tmp_path / 'moved')), 1, memory)
    again = Memory.load(leave(dataset, tmp_path / 'run/step_1/memory.json')).exemplars
    assert {exemplar.source.image for exemplar in again} == {f'{tmp_path}/moved/images/{stem}.jpg' for stem in (*OLD, 'z')}
    before = {exemplar.name: exemplar.source.digest for exemplar in Memory.load(memory).exemplars}
    assert {exemplar.name: exemplar.source.digest for exemplar in again if exemplar.name in before} == before
    assert all(replace(exemplar, source=None) != exemplar for exemplar in again)


def test_a_step_whose_data_knows_its_own_class_alone(tmp_path, memory):
    """d is 1 in there, and unknown to the data of step 0."""
    new = folder(tmp_path / 'new', {'x': (1, 0)}, 90, classes=('background', 'd'))
    dataset = open_step(new, 1, memory)
    assert mapped(dataset[0]) == [3, 0]
    assert replayed(dataset) == expected(tmp_path / 'old')
    again = leave(dataset, tmp_path / 'run/step_1/memory.json')
    last = open_step(folder(tmp_path / 'last', {'x': (1, 0)}, classes=('background', 'c')), 2, again)
    assert sorted(mapped(last[1 + i]) for i in range(4)) == [[0, 2], [1, 0], [2, 0], [3, 0]]
    with pytest.raises(ValueError, match=r"continual.memory.labels: got 'seen', but the data set of the remembered image x\.jpg "
                                         r"does not have these labels: it has no labels of .'b', 'a', 'c'.; take 'stored'"):
        open_step(folder(tmp_path / 'last', {'x': (1, 0)}, classes=('background', 'c')), 2, again, 'seen')
