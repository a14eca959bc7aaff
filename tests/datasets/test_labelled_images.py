from pathlib import Path

import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmcss.datasets import LabelledImages
from mmcss.datasets.sources import image_names
from mmcss.scenario import Protocol, Split, TrainView
from mmcss.scenario.partitions import kept_for_tests
from tests.makers import LABELS, PIPELINE, folder_config, split_of

STEPS = (('b', 'a'), ('d', ), ('c', ))


def split(step):
    return Split.from_dict(split_of(STEPS, step))


def test_selects_leaf_and_image(tmp_path):
    config = dict(type='ConcatDataset', datasets=[
        folder_config(tmp_path / 'first'), folder_config(tmp_path / 'second', labels={'j0': (0, 3), 'j1': (4, 0)})])
    images = LabelledImages(config)
    assert images.select(TrainView(), split(1)).tolist() == [[0, 1], [0, 2], [0, 3], [1, 1]]
    assert images.select(Protocol(), split(0)).tolist() == [[0, 0], [0, 2], [0, 6]]
    assert images.names.foreground == ('a', 'b', 'c', 'd')
    assert images.names.raw_ids == dict(background=0, a=1, b=2, c=3, d=4)


def test_a_share_is_kept_for_tests(tmp_path):
    images = LabelledImages(folder_config(tmp_path))
    everything = images.select(TrainView(), split(1)).tolist()
    trained = images.select(TrainView(), split(1), test_share=0.5).tolist()
    tested = images.select(Protocol(images='all'), split(1), test_share=0.5).tolist()
    names = image_names(images.leaves[0])
    kept = [[0, number] for number, name in enumerate(names) if kept_for_tests(name, 0.5)]
    assert tested == kept and 0 < len(kept) < len(names)
    assert trained == [image for image in everything if image not in kept]


def test_one_selection_serves_all_steps(tmp_path):
    images = LabelledImages(folder_config(tmp_path))
    assert [len(images.select(TrainView(), split(step))) for step in range(3)] == [3, 3, 2]


def test_test_views_may_lack_a_class(tmp_path):
    images = LabelledImages(folder_config(tmp_path, labels={'i0': (0, 1)}))
    assert images.select(Protocol(), split(1)).tolist() == [[0, 0]]


def test_label_outside_the_table_names_file_and_values(tmp_path):
    config = folder_config(tmp_path, labels=dict(LABELS, odd=(0, 7, 9, 255)))
    with pytest.raises(ValueError, match=r'odd\.png holds the label values \[7, 9\], but BaseSegDataset has classes for '
                       r'\[0, 1, 2, 3, 4\] and ignores \[255\]'):
        LabelledImages(config)


def test_label_map_in_colour(tmp_path):
    config = folder_config(tmp_path)
    Image.new('RGB', (4, 2)).save(tmp_path / 'labels' / 'i3.png')
    with pytest.raises(ValueError, match=r'i3\.png has shape \(2, 4, 3\), expected a single-channel map of class numbers'):
        LabelledImages(config)


def test_palette_files_are_read_as_indices(tmp_path):
    config = folder_config(tmp_path, labels={'i0': (0, 1), 'i1': (2, 255)})
    path = tmp_path / 'labels' / 'i1.png'
    image = Image.open(path).convert('P')
    image.putpalette([90, 80, 70] * 256)
    image.save(path)
    assert Image.open(path).mode == 'P'
    assert LabelledImages(config).presence[0][1].nonzero()[0].tolist() == [2, 255]


@pytest.mark.parametrize('damage', ['truncated', 'no image', 'missing'])
def test_unreadable_label_map_is_named(tmp_path, damage):
    config = folder_config(tmp_path)
    path = tmp_path / 'labels' / 'i3.png'
    if damage == 'missing':
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50] if damage == 'truncated' else b'no image')
    with pytest.raises(ValueError, match=r'the label map .*i3\.png can not be read: .'):
        LabelledImages(config)


def test_data_set_without_label_maps_is_refused(tmp_path):
    config = folder_config(tmp_path, data_prefix=dict(img_path='images'))
    with pytest.raises(ValueError, match='seg_map_path'):
        LabelledImages(config)


def test_pipeline_without_labels_is_refused(tmp_path):
    config = folder_config(tmp_path, pipeline=[PIPELINE[0], PIPELINE[2]])
    with pytest.raises(ValueError, match='pipeline of BaseSegDataset has no LoadAnnotations'):
        LabelledImages(config)


def test_concatenated_data_sets_of_different_classes_are_refused(tmp_path):
    config = dict(type='ConcatDataset', ignore_keys=['classes', 'palette'], datasets=[
        folder_config(tmp_path / 'first', labels={'i0': (0, 1)}),
        folder_config(tmp_path / 'second', labels={'i0': (0, 1)}, classes=('background', 'x'))])
    with pytest.raises(ValueError, match=r"different classes: \[\['a', 'b', 'c', 'd'\], \['x'\]\]"):
        LabelledImages(config)


def test_other_wrappers_are_refused(tmp_path):
    config = dict(type='MultiImageMixDataset', dataset=folder_config(tmp_path), pipeline=[])
    with pytest.raises(TypeError, match='takes BaseDataset, ConcatDataset and RepeatDataset, not MultiImageMixDataset'):
        LabelledImages(config)


def test_a_class_that_the_data_set_does_not_know_is_named(tmp_path):
    """As when training and test data have different class names."""
    images = LabelledImages(folder_config(tmp_path))
    with pytest.raises(ValueError, match=r"BaseSegDataset does not know the classes \['zebra'\] of the scenario"):
        images.select(Protocol(), Split.from_dict(split_of((('a', 'zebra'), ), 0)))


def test_takes_a_data_set_that_is_built(tmp_path):
    stock = DATASETS.build(folder_config(tmp_path, lazy_init=True))
    assert LabelledImages(stock).presence[0].shape == (len(LABELS), 256)


def test_a_list_of_images_takes_the_place_of_the_rule(tmp_path):
    images = LabelledImages(folder_config(tmp_path))
    names = [name for leaf in images.leaves for name in image_names(leaf)]
    (tmp_path / 'step.txt').write_text(f'{names[4]}\n{Path(names[2]).stem}\n')
    assert images.select(TrainView(), split(0), listed=str(tmp_path / 'step.txt'), complete=False).tolist() == [[0, 2], [0, 4]]
    assert len(images.select(Protocol(images='all'), split(0), listed=str(tmp_path / 'step.txt'))) == len(names)
    (tmp_path / 'step.txt').write_text('nowhere.png\nneither\n')
    with pytest.raises(ValueError, match=r"step.txt lists 2 images that the data set does not have, such as 'neither'"):
        images.select(TrainView(), split(0), listed=str(tmp_path / 'step.txt'))
    # Those of a step that is not trained may be gone.
    assert len(images.select(TrainView(), split(0), listed=str(tmp_path / 'step.txt'), complete=False)) == 0


def test_broken_images_are_left_out_and_listed(tmp_path):
    config = folder_config(tmp_path)
    whole = LabelledImages(config, skip_broken=True)
    assert whole.broken == [] and LabelledImages(config).broken is None
    (tmp_path / 'labels' / 'i3.png').write_bytes(b'nothing')
    images = LabelledImages(config, skip_broken=True)
    assert [path.endswith('i3.png') for path, _ in images.broken] == [True]
    for view in (TrainView(), Protocol(images='all')):
        kept = [pair for pair in whole.select(view, split(1)).tolist() if pair != [0, 3]]
        assert images.select(view, split(1)).tolist() == kept
    assert [0, 3] in whole.select(TrainView(), split(1)).tolist()


def test_a_background_beside_a_value_of_no_data(tmp_path):
    """As LoveDA's: value 0 is no data, 1 the background."""
    config = folder_config(tmp_path, dict(i0=(0, 1, 2), i1=(1, 3)), ('background', 'a', 'b'), reduce_zero_label=True)
    images, view = LabelledImages(config), TrainView()
    first = Split.from_dict(split_of((('b', ), ('a', )), 0))
    assert images.names.raw_ids == dict(background=1, a=2, b=3) and images.names.foreground == ('a', 'b')
    assert images.select(view, first).tolist() == [[0, 1]]
    assert view.table(first, images.names.raw_ids)[:4].tolist() == [255, 0, 0, 1]


# Data of a step that knows its own classes alone, with numbers of its own.


def own_numbers(root, labels=None, classes=('background', 'd')):
    return LabelledImages(folder_config(root, labels or {'x': (0, 1), 'y': (1, 255), 'z': (0, 0)}, classes))


def test_data_that_knows_the_classes_of_its_step_alone(tmp_path):
    images = own_numbers(tmp_path)
    for regime in ('overlapped', 'disjoint'):
        view = TrainView(regime=regime)
        assert images.select(view, split(1)).tolist() == [[0, 0], [0, 1]]
        table = view.table(split(1), images.names.raw_ids)
        assert table[[0, 1, 255]].tolist() == [0, 3, 255]  # background, d, ignored
    with pytest.raises(ValueError, match=r"does not know the classes \['b', 'a'\] of the scenario, only \['d'\]. Name them in "
                                         "its metainfo, with the numbers that its label maps have"):
        images.select(TrainView(), split(0))


@pytest.mark.parametrize('view', [TrainView(regime='sequential'), TrainView(keep_old_labels=True), Protocol()])
def test_old_classes_are_to_be_known_where_their_labels_count(tmp_path, view):
    with pytest.raises(ValueError, match=r"does not know the classes \[.*'b', 'a'.*\] of the scenario"):
        own_numbers(tmp_path).select(view, split(1))


def test_data_of_a_step_with_a_class_to_come(tmp_path):
    """c is future at step 1, and known; b and a are not."""
    images = own_numbers(tmp_path, {'x': (0, 2), 'y': (1, 2)}, ('background', 'c', 'd'))
    assert images.select(TrainView(), split(1)).tolist() == [[0, 0], [0, 1]]
    assert images.select(TrainView(regime='disjoint'), split(1)).tolist() == [[0, 0]]
    assert TrainView().table(split(1), images.names.raw_ids)[:3].tolist() == [0, 0, 3]


# Values that a data set ignores.


def test_another_value_is_ignored_like_255(tmp_path):
    config = folder_config(tmp_path, {'x': (0, 1, 9), 'y': (2, 255)}, ignore_index=9)
    images = LabelledImages(config)
    assert TrainView().table(split(0), images.names.raw_ids)[[0, 1, 2, 9, 255]].tolist() == [0, 2, 1, 255, 255]
    with pytest.raises(ValueError, match=r'holds the label values \[9\], .* and ignores \[8, 255\]'):
        LabelledImages(dict(config, ignore_index=8))
    assert len(LabelledImages(dict(config, metainfo=dict(classes=[*'abcdefghij']), ignore_index=-100)).leaves) == 1


def test_a_class_can_not_be_ignored(tmp_path):
    config = folder_config(tmp_path, {'x': (0, 1, 2)}, ignore_index=0)
    with pytest.raises(ValueError, match=r"BaseSegDataset\.ignore_index: got 0, the label value of 'background'; write ignored "
                                         'pixels as 255 or another value that no class has'):
        LabelledImages(config)
