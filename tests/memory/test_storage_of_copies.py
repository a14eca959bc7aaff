import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmcss.memory import Exemplar, WithMemory
from tests.makers import LABELS, PIPELINE, folder_config, mapped, split_of, write_pair
from tests.memory.memories import write_memory

# Learning order: background, b, a, d, c. Files hold background 0, a 1, b 2, c 3, d 4.
STEPS = (('b', 'a'), ('d', ), ('c', ))


def copied(root, values, number=0, name=None, labelled=('b', 'a'), holds=('a', ), leaf=0, saliency=None):
    """An image of which a copy is remembered, with labels in learning order; the data set has none of that name."""
    image, labels = f'memory/images/{number:05d}.jpg', f'memory/labels/{number:05d}.png'
    write_pair(root / 'step_0' / image, root / 'step_0' / labels, values)
    return Exemplar(leaf, name or f'gone{number}.jpg', labelled, holds, image, labels, saliency)


def make(root, *exemplars, step=1, labels='stored', config=None, regime='overlapped', saliency=None, **view):
    config = config or folder_config(root)
    return WithMemory(
        config, split_of(STEPS, step, regime=regime), dict(role='train', regime=regime, **view),
        path=write_memory(root / 'step_0' / 'memory.json', config, exemplars), labels=labels, saliency=saliency)


def replayed(dataset):
    """Labels of the remembered images, in their order."""
    return [mapped(dataset[len(dataset) + i]) for i in range(dataset.num_memory)]


def test_a_copy_brings_labels_in_learning_order(tmp_path):
    """What no class seen so far has is ignored."""
    dataset = make(tmp_path, copied(tmp_path, (0, 1, 2, 3, 4, 7, 255)))
    assert replayed(dataset) == [[0, 1, 2, 3, 255, 255, 255]]
    info = dataset.get_data_info(3)
    assert info['img_path'] == str(tmp_path / 'step_0' / 'memory/images/00000.jpg')
    assert info['seg_map_path'] == str(tmp_path / 'step_0' / 'memory/labels/00000.png')


def test_background_of_a_copy_is_unknown(tmp_path):
    assert replayed(make(tmp_path, copied(tmp_path, (0, 1, 2, 255)), unknown='background')) == [[4, 1, 2, 255]]


def test_a_copy_loads_the_same_again(tmp_path):
    dataset = make(tmp_path, copied(tmp_path, (0, 2)), copied(tmp_path, (0, 1, 2), 1, 'i2.jpg'))
    assert replayed(dataset) == replayed(dataset) == [[0, 2], [3, 2, 255]]


def test_a_copy_where_zero_is_thrown_away(tmp_path):
    """As in ADE20K: the files hold a 1, b 2, c 3, d 4 and 0 for none of them; the second is read from them."""
    config = folder_config(tmp_path, classes=('a', 'b', 'c', 'd'), reduce_zero_label=True)
    exemplars = (copied(tmp_path, (0, 2, 1, 255)), copied(tmp_path, (0, 1, 2), 1, 'i2.jpg'))
    assert replayed(make(tmp_path, *exemplars, config=config)) == [[0, 2, 1, 255], [3, 2, 255]]


class LoadFifties(LoadAnnotations):
    """Label maps whose classes are 50 apart."""

    def _load_seg_map(self, results):
        super()._load_seg_map(results)
        labels = results['gt_seg_map']
        results['gt_seg_map'] = np.where(labels == 255, 255, labels // 50).astype(np.uint8)


def test_a_copy_is_read_plainly_whatever_loader_the_data_has(tmp_path):
    config = folder_config(tmp_path, {name: [value if value == 255 else 50 * value for value in values]
                                      for name, values in LABELS.items()})
    kinds = TRANSFORMS._module_dict
    TRANSFORMS.register_module(module=LoadFifties)
    try:
        config['pipeline'] = [PIPELINE[0], dict(type='LoadFifties'), PIPELINE[2]]
        assert replayed(make(tmp_path, copied(tmp_path, (0, 1, 2, 3, 255)), config=config)) == [[0, 1, 2, 3, 255]]
    finally:
        kinds.pop('LoadFifties')


def test_copies_and_references_side_by_side(tmp_path):
    reference = Exemplar(0, 'i2.jpg', ('b', 'a'), ())
    dataset = make(tmp_path, copied(tmp_path, (2, 0)), reference, copied(tmp_path, (0, 1), 1))
    assert replayed(dataset) == [[2, 0], [3, 2, 255], [0, 1]]


@pytest.mark.parametrize('labels', ['seen', 'unshifted'])
@pytest.mark.parametrize('name', ['gone0.jpg', 'i0.jpg', 'i2.jpg'])
def test_a_copy_has_no_other_labels(tmp_path, labels, name):
    """Whether the data set has its image and the step has it (i2) or not."""
    with pytest.raises(ValueError, match=f"continual.memory.labels: got '{labels}', which copies do not have"):
        make(tmp_path, copied(tmp_path, (0, 1), name=name), labels=labels)


@pytest.mark.parametrize('name', ['gone0.jpg', 'i2.jpg'])
def test_a_copy_of_a_data_set_that_is_gone(tmp_path, name):
    """It is loaded as the last of those that are left; an image of that name in there is another one."""
    assert replayed(make(tmp_path, copied(tmp_path, (0, 2), name=name, leaf=5))) == [[0, 2]]


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


# Copies whose image the step has as well. Those below have labels that their files have not.


def test_a_copy_is_read_from_the_data_set_that_brings_its_image(tmp_path):
    """The file of i2 holds (4, 1, 255), of which d is new."""
    dataset = make(tmp_path, copied(tmp_path, (0, 1, 2), name='i2.jpg'))
    assert replayed(dataset) == [[3, 2, 255]]
    info = dataset.get_data_info(3)
    assert info['img_path'] == str(tmp_path / 'images/i2.jpg')
    assert info['seg_map_path'] == str(tmp_path / 'labels/i2.png')


def test_a_copy_that_is_read_from_the_data_set_keeps_what_it_is_labelled_for(tmp_path):
    """Its a is background if it was when the copy was stored."""
    exemplar = copied(tmp_path, (0, 1, 2), name='i2.jpg', labelled=('b', ), holds=())
    assert replayed(make(tmp_path, exemplar)) == [[3, 0, 255]]
    assert replayed(make(tmp_path, exemplar, regime='sequential')) == [[3, 2, 255]]


@pytest.mark.parametrize('name, holds, values', [
    ('i2.jpg', (), [3, 2, 255]),
    ('i2.jpg', ('a', ), [3, 2, 255]),
    ('i2.jpg', ('b', ), [0, 1, 2]),
    ('i2.jpg', ('b', 'a'), [0, 1, 2]),
    ('i3.jpg', ('a', ), [0, 1, 2]),
    ('i3.jpg', (), [3, 0]),
])
def test_a_copy_stays_where_the_data_set_lacks_one_of_its_classes(tmp_path, name, holds, values):
    """The files hold i2 (4, 1, 255), i3 (4, 3)."""
    assert replayed(make(tmp_path, copied(tmp_path, (0, 1, 2), name=name, holds=holds))) == [values]


def test_a_copy_whose_image_is_gone(tmp_path):
    exemplar, config = copied(tmp_path, (0, 1, 2), name='i2.jpg'), folder_config(tmp_path)
    assert replayed(make(tmp_path, exemplar, config=config)) == [[3, 2, 255]]
    (tmp_path / 'images/i2.jpg').unlink()
    assert replayed(make(tmp_path, exemplar, config=config)) == [[0, 1, 2]]


@pytest.mark.parametrize('step, name, regime, values', [
    (1, 'i0.jpg', 'overlapped', [1, 2]),
    (2, 'i2.jpg', 'overlapped', [1, 2]),
    (1, 'i3.jpg', 'overlapped', [3, 0]),
    # c is still to come.
    (1, 'i3.jpg', 'disjoint', [1, 2]),
    (1, 'i3.jpg', 'sequential', [1, 2]),
])
def test_a_copy_stays_where_the_step_does_not_bring_its_image(tmp_path, step, name, regime, values):
    """The files hold i0 (0, 1), i2 (4, 1, 255), i3 (4, 3)."""
    exemplar = copied(tmp_path, (1, 2), name=name, holds=())
    assert replayed(make(tmp_path, exemplar, step=step, regime=regime)) == [values]


def test_a_copy_whose_image_a_later_step_brings(tmp_path):
    """i3, for its c: once remembered for d, once without."""
    exemplars = [copied(tmp_path, (3, 0, 1), 0, 'i3.jpg', ('d', ), ('d', )),
                 copied(tmp_path, (0, 0, 1), 1, 'i3.jpg', ('b', 'a'), ())]
    assert replayed(make(tmp_path, *exemplars, step=2)) == [[3, 4], [0, 4]]


@pytest.mark.parametrize('leaf', [0, 1])
def test_a_copy_of_a_repeated_data_set(tmp_path, leaf):
    config = dict(type='RepeatDataset', dataset=folder_config(tmp_path), times=2)
    exemplars = [copied(tmp_path, (0, 1, 2), i, f'{stem}.jpg', leaf=leaf) for i, stem in enumerate(('i2', 'i0'))]
    assert replayed(make(tmp_path, *exemplars, config=config)) == [[3, 2, 255], [0, 1, 2]]


def test_copies_of_two_data_sets(tmp_path):
    """Both have an x and a y; the step has the x of the one and the y of the other."""
    config = dict(type='ConcatDataset', datasets=[
        folder_config(tmp_path / 'first', {'x': (4, 1), 'y': (0, 2)}),
        folder_config(tmp_path / 'second', {'x': (0, 1), 'y': (1, 4)})])
    places = [('x.jpg', 0), ('x.jpg', 1), ('y.jpg', 0), ('y.jpg', 1)]
    exemplars = [copied(tmp_path, (2, 1, 0), i, name, leaf=leaf) for i, (name, leaf) in enumerate(places)]
    assert replayed(make(tmp_path, *exemplars, config=config)) == [[3, 2], [2, 1, 0], [2, 1, 0], [2, 3]]


@pytest.mark.parametrize('view, values', [
    (dict(unknown='background'), [3, 4, 2, 255]),
    (dict(ignore_as_background=True), [3, 0, 2, 0]),
    (dict(unknown='background', ignore_as_background=True), [3, 4, 2, 4]),
])
def test_a_copy_that_is_read_from_the_data_set_under_a_view(tmp_path, view, values):
    config = folder_config(tmp_path, {'x': (4, 0, 1, 255)})
    assert replayed(make(tmp_path, copied(tmp_path, (0, 1, 2), name='x.jpg'), config=config, **view)) == [values]


# Saliency maps.


def mark(root, maps):
    """Saliency maps of these values by file, each value twice in a row as in the label maps."""
    for path, values in maps.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.repeat(np.asarray(values, np.uint8), 2), (2, 1))).save(root / path)


def salient(root, *exemplars, labels=LABELS):
    """Labels of remembered images whose data set's maps mark all but the last value."""
    config = folder_config(root, labels)
    mark(root, {f'saliency_map/{stem}.png': [*[1] * (len(values) - 1), 0] for stem, values in labels.items()})
    return replayed(make(root, *exemplars, config=config, unknown='saliency', saliency='saliency_map'))


def test_saliency_of_a_copy_is_its_own(tmp_path):
    mark(tmp_path / 'step_0', {'memory/saliency/00000.png': [0, 9, 9, 9]})
    exemplar = copied(tmp_path, (0, 0, 1, 255), saliency='memory/saliency/00000.png')
    assert salient(tmp_path, exemplar) == [[0, 4, 1, 255]]


@pytest.mark.parametrize('holds, values', [(('a', ), [3, 4, 2, 0]), (('b', ), [0, 1, 0, 4])])
def test_a_copy_takes_the_saliency_map_from_where_it_is_read(tmp_path, holds, values):
    """The file holds d, background, a, background; the copy's own map marks only the last value."""
    mark(tmp_path / 'step_0', {'memory/saliency/00000.png': [0, 0, 0, 9]})
    exemplar = copied(tmp_path, (0, 1, 0, 0), name='x.jpg', holds=holds, saliency='memory/saliency/00000.png')
    assert salient(tmp_path, exemplar, labels={'x': (4, 0, 1, 0)}) == [values]


def test_a_copy_without_a_saliency_map(tmp_path):
    """Only one that is read from the data set needs none."""
    labels = {'x': (4, 0, 1, 0), 'y': (0, 1)}
    assert salient(tmp_path, copied(tmp_path, (0, 1, 0, 0), name='x.jpg'), labels=labels) == [[3, 4, 2, 0]]
    with pytest.raises(ValueError, match=r'copy memory/images/00000\.jpg of y\.jpg was made without a saliency map'):
        salient(tmp_path, copied(tmp_path, (0, 2), name='y.jpg'), labels=labels)
