import random
import re
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmcss.datasets import LabelledImages, MarkUnknown, StepDataset, build_view, check_saliency
from mmcss.datasets.saliency import saliency_path
from mmcss.scenario import Split
from tests.makers import LABELS, PIPELINE, folder_config, mapped, split_of, stems, write_folder

# Learning order: background, b, a, d, c.
STEPS = (('b', 'a'), ('d', ), ('c', ))
TRAIN = dict(role='train', unknown='saliency')


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)
    return str(path)


def marked(labels, path, unknown=7):
    results = dict(gt_seg_map=np.array(labels, dtype=np.uint8), saliency_path=path, img_path='image.jpg', img='kept')
    results = MarkUnknown(unknown)(results)
    assert results['img'] == 'kept'
    assert results['gt_seg_map'].dtype == np.uint8
    return results['gt_seg_map'].tolist()


# The transform.


def test_salient_background_becomes_unknown(tmp_path):
    path = save(tmp_path / 'map.png', [[0, 1, 128, 255], [0, 1, 255, 0], [255, 255, 0, 0]])
    labels = [[0, 0, 0, 0], [3, 3, 255, 255], [7, 0, 0, 1]]
    assert marked(labels, path) == [[0, 7, 7, 7], [3, 3, 255, 255], [7, 7, 0, 1]]


@pytest.mark.parametrize('mode', ['L', 'RGB', '1'])
def test_a_map_of_any_mode(tmp_path, mode):
    path = tmp_path / 'map.png'
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert(mode).save(path)
    assert marked([[0, 0]], str(path)) == [[0, 7]]


def test_a_map_of_another_size(tmp_path):
    path = save(tmp_path / 'map.png', np.zeros((2, 3)))
    message = f'the saliency map {path} has 3 x 2 pixels, but its image image.jpg has 4 x 2'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        marked(np.zeros((2, 4)), path)
    # A row would fit without a word where sizes are not looked at.
    path = save(tmp_path / 'row.png', np.ones((1, 4)))
    with pytest.raises(ValueError, match='has 4 x 1 pixels, but its image image.jpg has 4 x 2'):
        marked(np.zeros((2, 4)), path)


@pytest.mark.parametrize('there', [False, True])
def test_a_map_that_can_not_be_read(tmp_path, there):
    path = tmp_path / 'map.png'
    if there:
        path.write_text('no picture')
    with pytest.raises(ValueError, match=f'the saliency map {re.escape(str(path))} can not be read'):
        marked([[0]], str(path))


def test_the_transform_is_registered():
    transform = TRANSFORMS.build(dict(type='MarkUnknown', unknown=5))
    assert isinstance(transform, MarkUnknown)
    assert repr(transform) == 'MarkUnknown(unknown=5)'


# Where the maps are.


def test_maps_stand_below_data_root(tmp_path):
    leaf = DATASETS.build(folder_config(tmp_path))
    assert saliency_path(leaf, 'saliency_map', 'i0.jpg') == str(tmp_path / 'saliency_map/i0.png')
    deep = saliency_path(leaf, 'maps/u2net', 'town/x.y_leftImg8bit.png')
    assert deep == str(tmp_path / 'maps/u2net/town/x.y_leftImg8bit.png')
    assert saliency_path(leaf, '/elsewhere', 'i0.jpg') == '/elsewhere/i0.png'


def test_maps_of_a_data_set_without_root(tmp_path):
    leaf = DATASETS.build(folder_config(tmp_path))
    leaf.data_root = None
    assert saliency_path(leaf, 'maps', 'i0.jpg') == 'maps/i0.png'


def test_maps_beside_a_data_root_that_is_a_link(tmp_path):
    """'..' leads to the folder of the link, where a user looks, not to that of what it points to."""
    real = tmp_path / 'disk' / 'voc'
    config = folder_config(real)
    link = tmp_path / 'data' / 'voc'
    link.parent.mkdir()
    link.symlink_to(real)
    config = dict(config, data_root=str(link))
    for stem, values in LABELS.items():
        save(tmp_path / f'data/maps/{stem}.png', np.ones((2, 2 * len(values))))
    assert saliency_path(DATASETS.build(config), '../maps', 'i0.jpg') == str(tmp_path / 'data/maps/i0.png')
    dataset = StepDataset(config, split_of(STEPS, 1), TRAIN, saliency='../maps')
    assert [mapped(dataset[i]) for i in range(3)] == [[4, 3], [3, 4, 255], [3, 4]]
    images = LabelledImages(config)
    pairs = images.saliency_maps(images.select(build_view(TRAIN), Split.from_dict(split_of(STEPS, 1))), '../maps')
    assert pairs == [(str(link / f'images/{stem}.jpg'), str(tmp_path / f'data/maps/{stem}.png'))
                     for stem in ('i1', 'i2', 'i3')]
    check_saliency(pairs)


# The check before training.


def pairs_of(root, *sizes):
    """Images of 4 x 2 pixels and maps of these sizes (width, height)."""
    pairs = []
    for number, size in enumerate(sizes):
        image = save(root / f'images/{number}.png', np.zeros((2, 4, 3)))
        path = root / f'maps/{number}.png'
        if size is not None:
            save(path, np.zeros(size[::-1]))
        pairs.append((image, str(path)))
    return pairs


def test_maps_that_are_right(tmp_path):
    assert check_saliency(pairs_of(tmp_path, *[(4, 2)] * 20)) is None
    assert check_saliency([]) is None


def test_a_missing_map_is_found(tmp_path):
    pairs = pairs_of(tmp_path, (4, 2), None, (4, 2), None)
    message = (f'the saliency map {pairs[1][1]} of {pairs[1][0]} can not be read (FileNotFoundError); 2 of 4 maps are '
               "wrong. tools/prepare_saliency.py makes them; continual.unknown=dict(of='background') needs none.")
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        check_saliency(pairs)


def test_a_file_that_is_no_map_is_found(tmp_path):
    pairs = pairs_of(tmp_path, (4, 2), (4, 2))
    with open(pairs[1][1], 'w') as file:
        file.write('no picture')
    message = f'the saliency map {pairs[1][1]} of {pairs[1][0]} can not be read (UnidentifiedImageError); 1 of 2 maps'
    with pytest.raises(ValueError, match=re.escape(message)):
        check_saliency(pairs)


@pytest.mark.parametrize('size', [(2, 4), (4, 3), (3, 2), (8, 4)])
def test_a_map_of_another_size_is_found(tmp_path, size):
    pairs = pairs_of(tmp_path, (4, 2), size, (4, 2))
    message = (f'the saliency map {pairs[1][1]} has {size[0]} x {size[1]} pixels, but its image {pairs[1][0]} has '
               '4 x 2; 1 of 3 maps are wrong.')
    with pytest.raises(ValueError, match=re.escape(message)):
        check_saliency(pairs)


def test_an_image_that_pillow_does_not_read(tmp_path):
    """Its own loader tells its size."""
    pairs = pairs_of(tmp_path, (4, 2))
    Path(pairs[0][0]).write_bytes(b'bands')
    assert check_saliency(pairs) is None


@pytest.mark.parametrize('size, right', [((4, 2), True), ((2, 4), True), ((4, 4), False)])
def test_the_map_of_a_photograph_on_its_side(tmp_path, size, right):
    """It lies as the loader has it, which may turn it or not."""
    (image, path), = pairs_of(tmp_path, size)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (4, 2)).save(image, format='JPEG', exif=exif)
    if right:
        check_saliency([(image, path)])
        return
    with pytest.raises(ValueError, match='4 x 4 pixels, but its image .* has 4 x 2'):
        check_saliency([(image, path)])


def test_maps_are_sought_for_the_images_of_a_step(tmp_path):
    images = LabelledImages(folder_config(tmp_path))
    split = Split.from_dict(split_of(STEPS, 2))
    chosen = images.select(build_view(TRAIN), split)
    assert images.saliency_maps(chosen, 'maps') == [
        (str(tmp_path / f'images/{stem}.jpg'), str(tmp_path / f'maps/{stem}.png')) for stem in ('i3', 'i4')]


# Data sets.


@pytest.mark.parametrize('step, labels', [
    # Files hold i0 (0, 1), i1 (0, 4), i2 (4, 1, 255), i3 (4, 3), i4 (3, 0), i6 (2, 0).
    (0, {'i0': [3, 2], 'i2': [3, 2, 255], 'i6': [1, 0]}),
    (1, {'i1': [4, 3], 'i2': [3, 0, 255], 'i3': [3, 0]}),
    (2, {'i3': [5, 4], 'i4': [4, 0]}),
])
def test_labels_of_a_step_hold_unknown(tmp_path, step, labels):
    """Only the first value of each image is salient."""
    config = folder_config(tmp_path)
    for stem, values in LABELS.items():
        save(tmp_path / f'maps/{stem}.png', np.tile([255] * 2 + [0] * (2 * len(values) - 2), (2, 1)))
    dataset = StepDataset(config, split_of(STEPS, step), TRAIN, saliency='maps')
    assert {stem: mapped(dataset[i]) for i, stem in enumerate(stems(dataset))} == labels


def test_a_data_set_without_maps_marks_nothing(tmp_path):
    dataset = StepDataset(folder_config(tmp_path), split_of(STEPS, 1), TRAIN)
    assert mapped(dataset[0]) == [0, 3]


def test_data_sets_side_by_side_have_maps_of_their_own(tmp_path):
    configs = []
    for name, mark in (('first', 0), ('second', 9)):
        configs.append(folder_config(tmp_path / name, {'x': (0, 4)}))
        save(tmp_path / name / 'maps/x.png', np.full((2, 4), mark))
    both = dict(type='ConcatDataset', datasets=configs)
    dataset = StepDataset(both, split_of(STEPS, 1), TRAIN, saliency='maps')
    assert [mapped(dataset[i]) for i in range(2)] == [[0, 3], [4, 3]]


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_marked_labels_are_those_of_two_planes(tmp_path, seed):
    """Label and saliency, each taken through resizing, cropping, flipping and padding by itself, say the same."""
    drawn = np.random.default_rng(seed)
    write_folder(tmp_path, {'x': (0, 4)})
    raw = np.kron(drawn.choice([0, 1, 2, 3, 4, 255], size=(11, 13)), np.ones((4, 4)))
    plane = np.kron(drawn.choice([0, 0, 1, 200], size=(15, 18)), np.ones((3, 3)))[:44, :52]
    save(tmp_path / 'images/x.jpg', np.zeros((44, 52, 3)))
    save(tmp_path / 'labels/x.png', raw)
    save(tmp_path / 'maps/x.png', plane)
    pipeline = [
        *PIPELINE[:2],
        dict(type='RandomResize', scale=(52, 44), ratio_range=(0.5, 2.), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(40, 40)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Pad', size=(48, 48), pad_val=dict(img=0, seg=255)),
        PIPELINE[2],
    ]
    stock = folder_config(tmp_path, {}, pipeline=pipeline)
    split = split_of(STEPS, 1)

    def planes(dataset):
        """Several draws of the one image."""
        random.seed(seed)
        np.random.seed(seed)
        return np.stack([dataset[0]['data_samples'].gt_sem_seg.data[0].numpy() for _ in range(4)])

    labels = planes(StepDataset(stock, split, dict(role='train')))
    saliency = planes(DATASETS.build(dict(stock, data_prefix=dict(img_path='images', seg_map_path='maps'))))
    expected = np.where((labels == 0) & (saliency > 0), 4, labels)
    labels = planes(StepDataset(stock, split, TRAIN, saliency='maps'))
    assert np.array_equal(labels, expected)
    # All four kinds of pixels are there.
    assert {0, 3, 4, 255} == set(np.unique(labels))
