import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmcss.memory import Exemplar, WithMemory
from mmcss.memory.copies import write_copies
from tests.makers import LABELS, folder_config, mapped, split_of, write_pair
from tests.memory.buffers import candidates_of, pairs_of
from tests.memory.memories import write_memory

# Learning order: background, b, a, d, c. Files hold background 0, a 1, b 2, c 3, d 4.
STEPS = (('b', 'a'), ('d', ), ('c', ))


def configure(root, labels=LABELS, **options):
    """The config of a data set each of whose images differs from the others."""
    config = folder_config(root, labels, **options)
    for number, (stem, values) in enumerate(labels.items()):
        Image.fromarray(np.full((2, 2 * len(values), 3), 10 * number, dtype=np.uint8)).save(root / f'images/{stem}.jpg')
    return config


def refer(stem, labelled=('b', 'a'), holds=(), leaf=0):
    return Exemplar(leaf, f'{stem}.jpg', tuple(labelled), tuple(holds))


def make(root, step, exemplars=None, config=None, regime='overlapped', labels='stored', min_length=0, saliency=None,
         **view):
    config = config or configure(root)
    path = None if exemplars is None else write_memory(root / f'step_{step - 1}' / 'memory.json', config, exemplars)
    return WithMemory(
        config, split_of(STEPS, step, regime=regime), dict(role='train', regime=regime, **view),
        min_length=min_length, path=path, labels=labels, saliency=saliency)


def replayed(dataset):
    return [mapped(dataset[len(dataset) + i]) for i in range(dataset.num_memory)]


def values_of(path):
    """The values of a label map, one for each value written."""
    labels = np.array(Image.open(path))
    assert labels.dtype == np.uint8 and labels.ndim == 2
    assert (labels[0] == labels[1]).all() and (labels[0, ::2] == labels[0, 1::2]).all()
    return labels[0, ::2].tolist()


# Candidates.


def test_candidates_of_the_first_step(tmp_path):
    assert pairs_of(make(tmp_path, 0)) == [
        (refer('i0', holds=('a', )), (0, )),
        (refer('i2', holds=('a', )), (1, )),
        (refer('i6', holds=('b', )), (2, )),
    ]


def test_old_exemplars_come_before_the_images_of_the_step(tmp_path):
    """i2 is both: one candidate with the labels of both and both numbers."""
    memory = [refer('i6', holds=('b', )), refer('i2', holds=('a', )), refer('i0', holds=('a', ))]
    assert pairs_of(make(tmp_path, 1, memory)) == [
        (refer('i6', holds=('b', )), (3, )),
        (refer('i2', ('b', 'a', 'd'), ('a', 'd')), (4, 1)),
        (refer('i0', holds=('a', )), (5, )),
        (refer('i1', ('d', ), ('d', )), (0, )),
        (refer('i3', ('d', ), ('d', )), (2, )),
    ]


def test_an_image_holds_all_new_classes_that_it_shows(tmp_path):
    config = configure(tmp_path, {'x': (0, 1, 2, 3), 'y': (4, 2)})
    assert [candidate.exemplar.holds for candidate in candidates_of(make(tmp_path, 0, config=config))] == [('b', 'a'), ('b', )]


def test_both_labels_name_no_class_twice(tmp_path):
    """A step that is run again finds its own classes already."""
    memory = [refer('i2', ('a', 'd', 'b'), ('d', ))]
    assert pairs_of(make(tmp_path, 1, memory))[0] == (refer('i2', ('a', 'd', 'b'), ('d', )), (3, 1))


def test_repeated_images_count_once(tmp_path):
    once, filled = make(tmp_path, 1, [refer('i0')]), make(tmp_path, 1, [refer('i0')], min_length=8)
    assert (len(once), len(filled)) == (3, 8)
    candidates, expected = candidates_of(filled), candidates_of(once)
    assert [candidate.exemplar for candidate in candidates] == [candidate.exemplar for candidate in expected]
    assert [candidate.numbers for candidate in candidates] == [(8, ), (0, ), (1, ), (2, )]
    assert [candidate.numbers for candidate in expected] == [(3, ), (0, ), (1, ), (2, )]


@pytest.mark.parametrize('exemplars', [None, [refer('i2', leaf=0)]])
def test_a_repeated_data_set_counts_once(tmp_path, exemplars):
    config = configure(tmp_path)
    repeated = candidates_of(make(tmp_path, 1, exemplars, config=dict(type='RepeatDataset', dataset=config, times=2)))
    plain = candidates_of(make(tmp_path, 1, exemplars, config=config))
    assert [candidate.exemplar for candidate in repeated] == [candidate.exemplar for candidate in plain]


def test_an_image_of_a_repeated_data_set_has_one_number(tmp_path):
    """Else a policy of features would count it each time that it is repeated."""
    config = dict(type='RepeatDataset', dataset=configure(tmp_path), times=2)
    plain, replaying = (candidates_of(make(tmp_path, 1, memory, config=config)) for memory in (None, [refer('i2')]))
    assert [candidate.numbers for candidate in plain] == [(0, ), (1, ), (2, )]
    assert [candidate.numbers for candidate in replaying] == [(6, 1), (0, ), (2, )]


def test_images_of_the_same_name_in_two_data_sets_are_two(tmp_path):
    config = dict(type='ConcatDataset', datasets=[
        configure(tmp_path / name, {'x': values}) for name, values in (('first', (0, 1, 2)), ('second', (0, 2)))])
    assert pairs_of(make(tmp_path, 0, config=config)) == [
        (refer('x', holds=('b', 'a')), (0, )),
        (refer('x', holds=('b', ), leaf=1), (1, )),
    ]


def test_sequential_images_are_labelled_for_all_that_is_seen(tmp_path):
    assert pairs_of(make(tmp_path, 1, regime='sequential')) == [
        (refer('i1', ('b', 'a', 'd'), ('d', )), (0, )),
        (refer('i2', ('b', 'a', 'd'), ('a', 'd')), (1, )),
    ]


def test_images_whose_old_labels_are_kept_are_labelled_for_all_that_is_seen(tmp_path):
    candidates = candidates_of(make(tmp_path, 1, keep_old_labels=True))
    assert [candidate.exemplar.labelled for candidate in candidates] == [('b', 'a', 'd')] * 3
    assert [candidate.exemplar.holds for candidate in candidates] == [('d', ), ('a', 'd'), ('d', )]


def test_a_data_set_whose_zero_is_thrown_away(tmp_path):
    config = configure(tmp_path, classes=('a', 'b', 'c', 'd'), reduce_zero_label=True)
    candidates = candidates_of(make(tmp_path, 0, config=config))
    assert [candidate.exemplar.holds for candidate in candidates] == [('a', ), ('a', ), ('b', )]


# Copies.


def copy_all(dataset, folder):
    folder.mkdir(exist_ok=True)
    return write_copies(dataset, candidates_of(dataset), folder)


def test_copies_of_images_and_labels(tmp_path):
    dataset = make(tmp_path, 1, [refer('i6', holds=('b', )), refer('i2', holds=('a', ))])
    exemplars = copy_all(dataset, tmp_path / 'step_1')
    assert [exemplar.name for exemplar in exemplars] == ['i6.jpg', 'i2.jpg', 'i1.jpg', 'i3.jpg']
    assert replace(exemplars[1], source=None) == Exemplar(0, 'i2.jpg', ('b', 'a', 'd'), ('a', 'd'), image='memory/images/00001.jpg',
                                    labels='memory/labels/00001.png', saliency=None)
    for exemplar in exemplars:
        assert (tmp_path / 'step_1' / exemplar.image).read_bytes() == (tmp_path / 'images' / exemplar.name).read_bytes()
    # b is 1, a 2, d 3.
    assert [values_of(tmp_path / 'step_1' / exemplar.labels) for exemplar in exemplars] == [[1, 0], [3, 2, 255], [0, 3], [3, 0]]
    assert len({(tmp_path / 'step_1' / exemplar.image).read_bytes() for exemplar in exemplars}) == 4


def test_copies_show_only_the_classes_that_they_are_labelled_for(tmp_path):
    """i2 holds a (2) and d (3): as an image of step 1, and as one remembered since step 0."""
    of_step = copy_all(make(tmp_path, 1), tmp_path / 'step_1')
    assert [values_of(tmp_path / 'step_1' / exemplar.labels) for exemplar in of_step] == [[0, 3], [3, 0, 255], [3, 0]]
    remembered = copy_all(make(tmp_path, 2, [refer('i2')]), tmp_path / 'step_2')[0]
    assert remembered.labelled == ('b', 'a')
    assert values_of(tmp_path / 'step_2' / remembered.labels) == [0, 2, 255]


def test_only_the_chosen_images_are_copied(tmp_path):
    dataset = make(tmp_path, 0)
    chosen = [candidates_of(dataset)[i] for i in (2, 0)]
    (tmp_path / 'step_0').mkdir()
    exemplars = write_copies(dataset, chosen, tmp_path / 'step_0')
    assert [exemplar.name for exemplar in exemplars] == ['i6.jpg', 'i0.jpg']
    files = sorted(str(path.relative_to(tmp_path / 'step_0')) for path in (tmp_path / 'step_0').rglob('*.*g'))
    assert files == sorted(f'memory/{kind}' for kind in (
        'images/00000.jpg', 'images/00001.jpg', 'labels/00000.png', 'labels/00001.png'))


def test_a_copy_keeps_the_ending_of_its_file(tmp_path):
    config = folder_config(tmp_path, {}, img_suffix='.png')
    write_pair(tmp_path / 'images/town/x.png', tmp_path / 'labels/town/x.png', (2, 1))
    exemplars = copy_all(make(tmp_path, 0, config=config), tmp_path / 'step_0')
    assert [exemplar.image for exemplar in exemplars] == ['memory/images/00000.png']
    assert exemplars[0].name == 'town/x.png'


def test_copies_show_the_labels_that_references_show(tmp_path):
    """Also when the originals are gone; step 1 has i2 and its d."""
    first = make(tmp_path, 0)
    references = [candidate.exemplar for candidate in candidates_of(first)]
    expected = [[0, 2], [3, 2, 255], [1, 0]]
    assert replayed(make(tmp_path, 1, references)) == expected
    copies = copy_all(first, tmp_path / 'step_0')
    assert replayed(make(tmp_path, 1, copies)) == expected
    left = configure(tmp_path)
    for stem in ('i0', 'i6'):
        (tmp_path / f'images/{stem}.jpg').unlink()
        (tmp_path / f'labels/{stem}.png').unlink()
    dataset = make(tmp_path, 1, copies, config=left)
    assert not (tmp_path / 'images/i0.jpg').exists()
    assert replayed(dataset) == expected
    (tmp_path / 'images/i2.jpg').unlink()
    assert replayed(make(tmp_path, 1, copies, config=left)) == [[0, 2], [0, 2, 255], [1, 0]]


@pytest.mark.parametrize('view', [dict(unknown='background'), dict(ignore_as_background=True)])
def test_copies_are_read_under_the_view_of_the_later_step(tmp_path, view):
    """They are stored without unknown, which each step numbers anew. Step 2 has none of them."""
    references = [candidate.exemplar for candidate in candidates_of(make(tmp_path, 0, **view))]
    expected = replayed(make(tmp_path, 2, references, **view))
    copies = copy_all(make(tmp_path, 0, **view), tmp_path / 'step_1')
    assert replayed(make(tmp_path, 2, copies, **view)) == expected
    ignored = 0 if 'ignore_as_background' in view else 255
    assert [values_of(tmp_path / 'step_1' / exemplar.labels) for exemplar in copies] == [[0, 2], [0, 2, ignored], [1, 0]]
    background = 5 if 'unknown' in view else 0
    assert expected == [[background, 2], [background, 2, ignored], [1, background]]


@pytest.mark.parametrize('labels', ['seen', 'unshifted'])
def test_references_are_copied_with_the_labels_they_were_stored_for(tmp_path, labels):
    dataset = make(tmp_path, 1, [refer('i2'), refer('i0')], labels=labels)
    candidates = {candidate.exemplar.name: candidate for candidate in candidates_of(dataset)}
    (tmp_path / 'step_1').mkdir()
    exemplars = write_copies(dataset, [candidates['i0.jpg'], candidates['i2.jpg']], tmp_path / 'step_1')
    assert [values_of(tmp_path / 'step_1' / exemplar.labels) for exemplar in exemplars] == [[0, 2], [3, 2, 255]]


def test_a_copy_of_a_copy(tmp_path):
    """Its image and labels are those of the copy, whatever the data set has by now."""
    copies = copy_all(make(tmp_path, 0), tmp_path / 'step_0')
    stored = [(tmp_path / 'step_0' / exemplar.image).read_bytes() for exemplar in copies]
    config = configure(tmp_path, {'i1': (4, 0)})
    (tmp_path / 'images/i0.jpg').unlink()
    Image.fromarray(np.full((2, 4, 3), 250, dtype=np.uint8)).save(tmp_path / 'images/i6.jpg')
    dataset = make(tmp_path, 1, copies, config=config)
    again = copy_all(dataset, tmp_path / 'step_1')
    assert [exemplar.name for exemplar in again[:3]] == ['i0.jpg', 'i2.jpg', 'i6.jpg']
    assert [(tmp_path / 'step_1' / exemplar.image).read_bytes() for exemplar in again[:3]] == stored
    values = {exemplar.name: values_of(tmp_path / 'step_1' / exemplar.labels) for exemplar in again}
    # i2 and i3 are images of this step as well.
    assert values == {'i0.jpg': [0, 2], 'i2.jpg': [3, 2, 255], 'i6.jpg': [1, 0], 'i1.jpg': [3, 0], 'i3.jpg': [3, 0]}
    shutil.rmtree(tmp_path / 'step_0')
    # Step 2 has i3 and its c.
    assert replayed(make(tmp_path, 2, again)) == list({**values, 'i3.jpg': [3, 4]}.values())


def test_an_old_label_stands_where_a_copy_and_a_step_differ(tmp_path):
    """The file holds (4, 1, 255); the copy has been labelled (0, 1, 2): only its background is filled."""
    copies = copy_all(make(tmp_path, 0), tmp_path / 'step_0')
    old = copies[1]
    assert old.name == 'i2.jpg'
    write_pair(tmp_path / 'step_0' / old.image, tmp_path / 'step_0' / old.labels, (0, 1, 2))
    merged = copy_all(make(tmp_path, 1, [old]), tmp_path / 'step_1')[0]
    assert (merged.name, merged.labelled, merged.holds) == ('i2.jpg', ('b', 'a', 'd'), ('a', 'd'))
    assert values_of(tmp_path / 'step_1' / merged.labels) == [3, 1, 2]


def test_an_ignored_pixel_of_a_copy_stays_ignored(tmp_path):
    old = copy_all(make(tmp_path, 0), tmp_path / 'step_0')[1]
    write_pair(tmp_path / 'step_0' / old.image, tmp_path / 'step_0' / old.labels, (255, 0, 0))
    merged = copy_all(make(tmp_path, 1, [old]), tmp_path / 'step_1')[0]
    assert values_of(tmp_path / 'step_1' / merged.labels) == [255, 2, 255]


def test_copies_of_a_data_set_whose_zero_is_thrown_away(tmp_path):
    config = configure(tmp_path, classes=('a', 'b', 'c', 'd'), reduce_zero_label=True)
    dataset = make(tmp_path, 1, [refer('i6'), refer('i2')], config=config)
    exemplars = copy_all(dataset, tmp_path / 'step_1')
    assert [values_of(tmp_path / 'step_1' / exemplar.labels) for exemplar in exemplars] == [[1, 0], [3, 2, 255], [0, 3], [3, 0]]
    assert replayed(make(tmp_path, 2, exemplars, config=config)) == [[1, 0], [3, 2, 255], [0, 3], [3, 4]]


def test_leftovers_of_an_earlier_run_are_replaced(tmp_path):
    folder = tmp_path / 'step_0'
    for leftover in ('memory/images/00007.jpg', 'memory/labels/other.png', 'memory.partial/images/00000.jpg'):
        (folder / leftover).parent.mkdir(parents=True, exist_ok=True)
        (folder / leftover).write_text('left')
    exemplars = copy_all(make(tmp_path, 0), folder)
    files = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}
    assert files == {path for exemplar in exemplars for path in (exemplar.image, exemplar.labels)}
    assert sorted(path.name for path in folder.iterdir()) == ['memory']


def test_copies_that_are_written_again_are_the_same(tmp_path):
    """A step that was stopped behind its copies writes them once more."""
    dataset = make(tmp_path, 0)
    first = copy_all(dataset, tmp_path / 'step_0')
    before = {exemplar.name: (tmp_path / 'step_0' / exemplar.image).read_bytes() for exemplar in first}
    assert copy_all(dataset, tmp_path / 'step_0') == first
    assert {exemplar.name: (tmp_path / 'step_0' / exemplar.image).read_bytes() for exemplar in first} == before


def test_no_image_is_chosen(tmp_path):
    (tmp_path / 'step_0').mkdir()
    assert write_copies(make(tmp_path, 0), [], tmp_path / 'step_0') == []
    assert not [path for path in (tmp_path / 'step_0').rglob('*') if path.is_file()]


def test_saliency_maps_are_copied(tmp_path):
    """And copied on from the copy."""
    config = configure(tmp_path)
    (tmp_path / 'saliency_map').mkdir()
    for stem, values in LABELS.items():
        marks = np.tile(np.repeat(np.arange(len(values), dtype=np.uint8), 2), (2, 1))
        Image.fromarray(marks).save(tmp_path / f'saliency_map/{stem}.png')
    options = dict(saliency='saliency_map', unknown='saliency', config=config)
    copies = copy_all(make(tmp_path, 0, **options), tmp_path / 'step_0')
    assert [exemplar.saliency for exemplar in copies] == [f'memory/saliency/{i:05d}.png' for i in range(3)]
    originals = {exemplar.name: (tmp_path / f'saliency_map/{exemplar.name[:-4]}.png').read_bytes() for exemplar in copies}
    assert {exemplar.name: (tmp_path / 'step_0' / exemplar.saliency).read_bytes() for exemplar in copies} == originals
    # Labels are stored without unknown, which is what a map marks: all but the first value.
    assert [values_of(tmp_path / 'step_0' / exemplar.labels) for exemplar in copies] == [[0, 2], [0, 2, 255], [1, 0]]
    dataset = make(tmp_path, 1, copies, **options)
    assert replayed(dataset) == [[0, 2], [3, 2, 255], [1, 4]]
    again = copy_all(dataset, tmp_path / 'step_1')
    shutil.rmtree(tmp_path / 'step_0')
    assert {exemplar.name: (tmp_path / 'step_1' / exemplar.saliency).read_bytes() for exemplar in again[:3]} == originals
    assert [exemplar.name for exemplar in again] == ['i0.jpg', 'i2.jpg', 'i6.jpg', 'i1.jpg', 'i3.jpg']
    assert replayed(make(tmp_path, 2, again, **options)) == [[0, 2], [3, 2, 255], [1, 5], [0, 3], [3, 4]]
