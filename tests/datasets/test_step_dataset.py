import copy
import pickle

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmseg.datasets import ADE20KDataset, CityscapesDataset, PascalVOCDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmcss.datasets import StepDataset, build_view
from mmcss.scenario import IGNORE, Protocol, Split, TrainView
from tests.makers import LABELS, PIPELINE, folder_config, mapped, split_of, stems, write_folder

# Learning order: background, b, a, d, c.
STEPS = (('b', 'a'), ('d', ), ('c', ))
TRAIN, TEST = dict(role='train'), dict(role='test')


def make(root, step, view=TRAIN, regime='overlapped', min_length=0, **options):
    split = split_of(STEPS, step, regime=regime)
    return StepDataset(folder_config(root, **options), split, dict(view), min_length)


def contents(dataset):
    """Labels by image name; each image once."""
    return {stem: mapped(dataset[i]) for i, stem in enumerate(stems(dataset))}


def test_train_labels_of_each_step(tmp_path):
    assert contents(make(tmp_path, 0)) == {'i0': [0, 2], 'i2': [0, 2, 255], 'i6': [1, 0]}
    assert contents(make(tmp_path, 1)) == {'i1': [0, 3], 'i2': [3, 0, 255], 'i3': [3, 0]}
    assert contents(make(tmp_path, 2)) == {'i3': [0, 4], 'i4': [4, 0]}


def test_it_takes_objects_where_configs_may_stand(tmp_path):
    """A stock data set, also in others, a split and a view; by default what training sees."""
    stock = DATASETS.build(folder_config(tmp_path))
    split = Split.from_dict(split_of(STEPS, 1))
    expected = make(tmp_path, 1)
    for dataset, times in ((stock, 1), (RepeatDataset(stock, 2), 2), (ConcatDataset([stock, stock]), 2)):
        step_dataset = StepDataset(dataset, split)
        assert step_dataset.split is split and step_dataset.view == TrainView()
        assert stems(step_dataset) == stems(expected) * times and contents(step_dataset) == contents(expected)
    for view, config in ((TrainView('disjoint'), dict(TRAIN, regime='disjoint')),
                         (Protocol(future='ignore'), dict(TEST, future='ignore'))):
        assert contents(StepDataset(stock, split, view)) == contents(make(tmp_path, 1, config))


@pytest.mark.parametrize('regime, images', [
    ('overlapped', ['i0 i2 i6', 'i1 i2 i3', 'i3 i4']),
    ('disjoint', ['i0 i6', 'i1 i2', 'i3 i4']),
    ('sequential', ['i0 i6', 'i1 i2', 'i3 i4']),
])
def test_train_images_of_each_regime(tmp_path, regime, images):
    datasets = [make(tmp_path, step, dict(TRAIN, regime=regime), regime) for step in range(3)]
    assert [stems(dataset) for dataset in datasets] == [names.split() for names in images]
    assert [len(dataset) for dataset in datasets] == [len(names.split()) for names in images]


def test_sequential_keeps_old_labels(tmp_path):
    dataset = make(tmp_path, 1, dict(TRAIN, regime='sequential'), 'sequential')
    assert contents(dataset) == {'i1': [0, 3], 'i2': [3, 2, 255]}


def test_ignored_pixels_as_background(tmp_path):
    assert contents(make(tmp_path, 0, dict(TRAIN, ignore_as_background=True)))['i2'] == [0, 2, 0]


def test_a_view_that_ignores_old_and_future_classes(tmp_path):
    dataset = make(tmp_path, 1)
    assert contents(dataset.viewed(dict(ignore_others=True))) == {'i1': [0, 3], 'i2': [3, 255, 255], 'i3': [3, 255]}
    assert contents(dataset) == {'i1': [0, 3], 'i2': [3, 0, 255], 'i3': [3, 0]}


@pytest.mark.parametrize('protocol, labels', [
    (dict(), {'i0': [0, 2], 'i1': [0, 3], 'i2': [3, 2, 255], 'i3': [3, 0], 'i6': [1, 0]}),
    (dict(future='ignore'), {'i0': [0, 2], 'i1': [0, 3], 'i2': [3, 2, 255], 'i3': [3, 255], 'i6': [1, 0]}),
    (dict(background=False), {'i0': [255, 2], 'i1': [255, 3], 'i2': [3, 2, 255], 'i3': [3, 255], 'i6': [1, 255]}),
    (dict(images='all'), {'i0': [0, 2], 'i1': [0, 3], 'i2': [3, 2, 255], 'i3': [3, 0], 'i4': [0, 0], 'i5': [0, 255],
                          'i6': [1, 0]}),
])
def test_test_images_and_labels_of_each_protocol(tmp_path, protocol, labels):
    assert contents(make(tmp_path, 1, dict(TEST, **protocol))) == labels


def test_metainfo_follows_the_learning_order(tmp_path):
    metainfo = make(tmp_path, 1).metainfo
    assert metainfo['classes'] == ('background', 'b', 'a', 'd')
    assert metainfo['palette'] == [[0, 0, 0], [2, 4, 6], [1, 2, 3], [4, 8, 12]]
    assert metainfo['split'] == split_of(STEPS, 1)
    assert metainfo['score_background'] is True


def test_metainfo_says_whether_the_background_is_scored(tmp_path):
    assert make(tmp_path, 1, TEST).metainfo['score_background'] is True
    assert make(tmp_path, 1, dict(TEST, background=False)).metainfo['score_background'] is False


def test_test_time_augmentation_maps_once_in_every_branch(tmp_path):
    flips = [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1., direction='horizontal')]
    pipeline = [PIPELINE[0], dict(type='TestTimeAug', transforms=[flips, [PIPELINE[1]], [PIPELINE[2]]])]
    dataset = make(tmp_path, 1, TEST, pipeline=pipeline)
    data = dataset[stems(dataset).index('i2')]
    assert [sample.flip for sample in data['data_samples']] == [False, True]
    # The labels are loaded behind the flip, so that both branches have them as they are.
    assert [mapped(dict(data_samples=sample)) for sample in data['data_samples']] == [[3, 2, 255]] * 2


def test_a_pipeline_that_loads_twice_maps_twice(tmp_path):
    pipeline = [*PIPELINE[:2], dict(type='RandomFlip', prob=0.), *PIPELINE[1:]]
    assert contents(make(tmp_path, 2, pipeline=pipeline)) == {'i3': [0, 4], 'i4': [4, 0]}


def test_labels_are_mapped_before_the_next_transform(tmp_path):
    """RandomCrop judges how much of a crop one class fills: it has to see the step's labels."""
    seen = []

    class Watch(BaseTransform):

        def transform(self, results):
            seen.append(np.unique(results['gt_seg_map']).tolist())
            return results

    dataset = make(tmp_path, 1, pipeline=[*PIPELINE[:2], Watch(), PIPELINE[2]])
    dataset[stems(dataset).index('i3')]
    assert seen == [[0, 3]]


@pytest.mark.parametrize('min_length, order', [
    (0, 'i3 i4'), (1, 'i3 i4'), (2, 'i3 i4'), (3, 'i3 i4 i3'), (5, 'i3 i4 i3 i4 i3')
])
def test_few_images_are_repeated(tmp_path, min_length, order):
    dataset = make(tmp_path, 2, min_length=min_length)
    assert stems(dataset) == order.split()
    assert [mapped(dataset[i]) for i in range(len(dataset))] == \
        [{'i3': [0, 4], 'i4': [4, 0]}[stem] for stem in order.split()]


def test_no_image_is_not_repeated(tmp_path):
    labels = {'i0': (0, 4)}
    assert len(make(tmp_path, 0, TEST, min_length=4, labels=labels)) == 0


def test_an_image_that_gives_no_data_is_replaced_by_one_of_the_step(tmp_path):
    dataset = make(tmp_path, 1, pipeline=[PIPELINE[0], dict(type='GiveUp', names=['i1']), *PIPELINE[1:]])
    assert stems(dataset) == ['i1', 'i2', 'i3']
    drawn = [dataset[0]['data_samples'].img_path for _ in range(40)]
    assert {path.rsplit('/', 1)[1] for path in drawn} == {'i2.jpg', 'i3.jpg'}


def test_a_pipeline_without_data_does_not_run_for_ever(tmp_path):
    dataset = make(tmp_path, 2, pipeline=[dict(type='GiveUp', names=['i']), *PIPELINE])
    with pytest.raises(RuntimeError, match='no data in 1000 tries; look for a transform that returns None'):
        dataset[0]


def test_repeated_data_set(tmp_path):
    """Its images stand there twice; the one pipeline below maps once."""
    config = dict(type='RepeatDataset', dataset=folder_config(tmp_path), times=2)
    dataset = StepDataset(config, split_of(STEPS, 1), TRAIN)
    assert stems(dataset) == ['i1', 'i2', 'i3'] * 2
    assert dataset.each_once().tolist() == [0, 1, 2]
    assert [mapped(dataset[i]) for i in range(6)] == [[0, 3], [3, 0, 255], [3, 0]] * 2


def test_voc_with_augmented_annotations(tmp_path):
    """The stock config: ConcatDataset of train and aug, which lie in two folders of label maps."""
    names = PascalVOCDataset.METAINFO['classes']
    assert names[15] == 'person' and names[20] == 'tvmonitor'
    write_folder(tmp_path, {'t0': (0, 15, 255), 't1': (1, 20)}, images='JPEGImages', maps='SegmentationClass')
    write_folder(tmp_path, {'g0': (15, 1, 7)}, images='JPEGImages', maps='SegmentationClassAug')
    (tmp_path / 'train.txt').write_text('t0\nt1\n')
    (tmp_path / 'aug.txt').write_text('g0\n')

    def part(name, folder):
        return dict(type='PascalVOCDataset', data_root=str(tmp_path), ann_file=f'{name}.txt', pipeline=PIPELINE,
                    data_prefix=dict(img_path='JPEGImages', seg_map_path=folder))

    split = split_of((('tvmonitor', 'aeroplane'), ('person', )), 1)
    alone = StepDataset(part('train', 'SegmentationClass'), split, TRAIN)
    assert contents(alone) == {'t0': [0, 3, 255]}
    both = dict(type='ConcatDataset', datasets=[part('train', 'SegmentationClass'), part('aug', 'SegmentationClassAug')])
    assert contents(StepDataset(both, split, TRAIN)) == {'t0': [0, 3, 255], 'g0': [3, 0, 0]}
    tested = StepDataset(both, split, TEST)
    # 'bus' (7) is no class of this scenario: it stays background for ever.
    assert contents(tested) == {'t0': [0, 3, 255], 't1': [2, 1], 'g0': [3, 2, 0]}
    assert tested.metainfo['classes'] == ('background', 'tvmonitor', 'aeroplane', 'person')
    assert tested.metainfo['palette'] == [[0, 0, 0], [0, 64, 128], [128, 0, 0], [192, 128, 128]]


@pytest.mark.parametrize('loader', [dict(type='LoadAnnotations'), dict(type='LoadAnnotations', reduce_zero_label=True)])
@pytest.mark.filterwarnings('ignore:`reduce_zero_label` will be deprecated')
def test_ade20k_as_its_stock_config_has_it(tmp_path, loader):
    """reduce_zero_label stays True in the config; the unlabelled 0 is background all the same."""
    names = ADE20KDataset.METAINFO['classes']
    write_folder(tmp_path, {'x': (*range(151), IGNORE)})
    config = dict(type='ADE20KDataset', data_root=str(tmp_path), pipeline=[PIPELINE[0], loader, PIPELINE[2]],
                  data_prefix=dict(img_path='images', seg_map_path='labels'))
    whole = StepDataset(config, split_of([names], 0), TRAIN)
    assert mapped(whole[0]) == [*range(151), IGNORE]
    assert whole.metainfo['classes'] == ('background', *names)
    assert whole.metainfo['palette'] == [[0, 0, 0], *ADE20KDataset.METAINFO['palette']]
    assert whole[0]['data_samples'].reduce_zero_label is False
    # wall is 1 and building 2 in the files; learnt in the other order.
    step = StepDataset(config, split_of([('building', ), ('wall', )], 1), TRAIN)
    assert mapped(step[0]) == [0, 2, *[0] * 149, IGNORE]
    tested = StepDataset(config, split_of([('building', ), ('wall', )], 1), TEST)
    assert mapped(tested[0]) == [0, 2, 1, *[0] * 148, IGNORE]


def test_ade20k_with_some_of_its_classes(tmp_path):
    """metainfo=dict(classes=...) of the stock data set: the other classes are ignored, 0 stays background."""
    write_folder(tmp_path, {'x': (0, 1, 2, 3, IGNORE)})
    config = dict(type='ADE20KDataset', data_root=str(tmp_path), pipeline=PIPELINE,
                  data_prefix=dict(img_path='images', seg_map_path='labels'),
                  metainfo=dict(classes=('sky', 'wall')))
    dataset = StepDataset(config, split_of([('wall', 'sky')], 0), TRAIN)
    assert mapped(dataset[0]) == [0, 1, IGNORE, 2, IGNORE]


def test_voc_with_some_of_its_classes(tmp_path):
    write_folder(tmp_path, {'x': (0, 1, 2, 3, IGNORE)})
    (tmp_path / 'list.txt').write_text('x\n')
    config = dict(type='PascalVOCDataset', data_root=str(tmp_path), pipeline=PIPELINE, ann_file='list.txt',
                  data_prefix=dict(img_path='images', seg_map_path='labels'),
                  metainfo=dict(classes=('background', 'bird', 'aeroplane')))
    dataset = StepDataset(config, split_of([('aeroplane', 'bird')], 0), TRAIN)
    assert mapped(dataset[0]) == [0, 1, IGNORE, 2, IGNORE]


def test_cityscapes_gets_a_background(tmp_path):
    """Road has label 0 in the files; the background that the model needs is index 0 of the step."""
    assert CityscapesDataset.METAINFO['classes'][:3] == ('road', 'sidewalk', 'building')
    write_folder(tmp_path, {'x': (0, 1, 2, 18, IGNORE), 'y': (2, 18)}, '_leftImg8bit.png', '_gtFine_labelTrainIds.png')
    config = dict(type='CityscapesDataset', data_root=str(tmp_path), pipeline=PIPELINE,
                  data_prefix=dict(img_path='images', seg_map_path='labels'))
    steps = (('sidewalk', ), ('road', ), ('bicycle', ))
    datasets = [StepDataset(config, split_of(steps, step), TRAIN) for step in range(3)]
    assert [[mapped(dataset[i]) for i in range(len(dataset))] for dataset in datasets] == [
        [[0, 1, 0, 0, IGNORE]], [[2, 0, 0, 0, IGNORE]], [[0, 0, 0, 3, IGNORE], [0, 3]]]
    assert datasets[1].metainfo['classes'] == ('background', 'sidewalk', 'road')
    assert datasets[1].metainfo['palette'] == [[0, 0, 0], [244, 35, 232], [128, 64, 128]]
    tested = StepDataset(config, split_of(steps, 1), dict(TEST, future='ignore'))
    assert [mapped(tested[i]) for i in range(len(tested))] == [[2, 1, IGNORE, IGNORE, IGNORE]]


def test_two_steps_of_one_stock_data_set(tmp_path):
    """A data set that is built once serves several steps: each maps on its own."""
    stock = DATASETS.build(folder_config(tmp_path))
    first, second = (StepDataset(stock, split_of(STEPS, step), TRAIN) for step in (0, 1))
    assert contents(first) == {'i0': [0, 2], 'i2': [0, 2, 255], 'i6': [1, 0]}
    assert contents(second) == {'i1': [0, 3], 'i2': [3, 0, 255], 'i3': [3, 0]}


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_a_copy_is_the_same_data_set(tmp_path, copied):
    """Runners copy their data sets, and spawned loader processes get pickled ones."""
    dataset = copied(make(tmp_path, 1, TEST))
    assert contents(dataset) == {'i0': [0, 2], 'i1': [0, 3], 'i2': [3, 2, 255], 'i3': [3, 0], 'i6': [1, 0]}
    assert dataset.metainfo == make(tmp_path, 1, TEST).metainfo


def test_build_view():
    assert build_view(dict(role='train', regime='disjoint')) == TrainView(regime='disjoint')
    assert build_view(dict(role='test', future='ignore')) == Protocol(future='ignore')


@pytest.mark.parametrize('view, message', [
    (dict(role='val'), "role: got 'val', valid are train, test"),
    (dict(regime='disjoint'), 'role: got None, valid are train, test'),
])
def test_unknown_role(view, message):
    with pytest.raises(ValueError, match=message):
        build_view(view)


def test_a_class_without_images_is_named(tmp_path):
    labels = {stem: values for stem, values in LABELS.items() if 2 not in values}
    with pytest.raises(ValueError, match=r"step 0 has 2 training images, but none with \['b'\] \(regime 'overlapped'\)"):
        make(tmp_path, 0, labels=labels)


def test_a_class_that_the_regime_leaves_without_images_is_named(tmp_path):
    labels = {'i0': (0, 1), 'i1': (2, 4), 'i2': (4, 3)}
    with pytest.raises(ValueError, match=r"step 0 has 1 training images, but none with \['b'\] \(regime 'disjoint'\)"):
        make(tmp_path, 0, dict(TRAIN, regime='disjoint'), 'disjoint', labels=labels)


def test_a_test_image_that_gives_no_data_is_an_error(tmp_path):
    """Another one in its place would be judged twice."""
    pipeline = [PIPELINE[0], dict(type='GiveUp', names=['i2']), *PIPELINE[1:]]
    dataset = StepDataset(folder_config(tmp_path, pipeline=pipeline), split_of(STEPS, 0), dict(role='test'))
    shown = stems(dataset)
    assert mapped(dataset[shown.index('i0')])
    with pytest.raises(ValueError, match='i2.jpg: the test pipeline returned no data'):
        dataset[shown.index('i2')]


def test_all_background_is_unknown(tmp_path):
    view = dict(TRAIN, unknown='background')
    assert contents(make(tmp_path, 0, view)) == {'i0': [3, 2], 'i2': [3, 2, 255], 'i6': [1, 3]}
    assert contents(make(tmp_path, 1, view)) == {'i1': [4, 3], 'i2': [3, 4, 255], 'i3': [3, 4]}
    assert contents(make(tmp_path, 2, view)) == {'i3': [5, 4], 'i4': [4, 5]}


def test_unknown_is_marked_before_the_next_transform(tmp_path):
    """RandomCrop judges how much of a crop one class fills: unknown is a class of its own."""
    seen = []

    class Watch(BaseTransform):

        def transform(self, results):
            seen.append(results['gt_seg_map'].tolist())
            return results

    config = folder_config(tmp_path, pipeline=[*PIPELINE[:2], Watch(), PIPELINE[2]])
    (tmp_path / 'maps').mkdir()
    for stem, values in LABELS.items():
        marks = np.zeros((2, 2 * len(values)), dtype=np.uint8)
        marks[0] = 1
        Image.fromarray(marks).save(tmp_path / f'maps/{stem}.png')
    dataset = StepDataset(config, split_of(STEPS, 1), dict(TRAIN, unknown='saliency'), saliency='maps')
    dataset[stems(dataset).index('i1')]
    assert seen == [[[4, 4, 3, 3], [0, 0, 3, 3]]]


def test_a_pipeline_that_loads_twice_marks_twice(tmp_path):
    config = folder_config(tmp_path, pipeline=[*PIPELINE[:2], dict(type='RandomFlip', prob=0.), *PIPELINE[1:]])
    (tmp_path / 'maps').mkdir()
    for stem, values in LABELS.items():
        Image.fromarray(np.ones((2, 2 * len(values)), dtype=np.uint8)).save(tmp_path / f'maps/{stem}.png')
    dataset = StepDataset(config, split_of(STEPS, 2), dict(TRAIN, unknown='saliency'), saliency='maps')
    assert contents(dataset) == {'i3': [5, 4], 'i4': [4, 5]}


def test_it_has_what_stock_tools_read(tmp_path):
    """As MMSegmentation's confusion_matrix.py does; labels are those of learning, whose zero counts."""
    dataset = make(tmp_path, 1, TEST)
    assert dataset.METAINFO['classes'] == ('background', 'b', 'a', 'd')
    assert (dataset.ignore_index, dataset.reduce_zero_label) == (255, False)
