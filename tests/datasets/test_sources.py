import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.registry import DATASETS

from mmcss.datasets import leaves_of
from mmcss.datasets.readers import LabelReader, find_label_loaders
from tests.makers import PIPELINE, folder_config


def test_leaves_in_order(tmp_path):
    """A concatenation of a repeated data set and one more."""
    first, second = (DATASETS.build(folder_config(tmp_path / name)) for name in 'ab')
    assert leaves_of(first) == [first]
    nested = DATASETS.build(dict(type='RepeatDataset', dataset=second, times=2))
    concatenated = DATASETS.build(dict(type='ConcatDataset', datasets=[first, second]))
    assert leaves_of(nested) == [second, second]
    concatenated.datasets = [first, nested]
    assert leaves_of(concatenated) == [first, second, second]


def test_loaders_are_found_in_nested_pipelines(tmp_path):
    branches = dict(type='RandomChoice', transforms=[[PIPELINE[1]], [dict(type='RandomFlip', prob=0.), PIPELINE[1]]])
    flips = [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)]
    augmented = dict(type='TestTimeAug', transforms=[flips, [PIPELINE[1]], [PIPELINE[2]]])

    def positions(pipeline):
        places = find_label_loaders(DATASETS.build(folder_config(tmp_path, pipeline=pipeline)).pipeline)
        assert all(type(transforms[position]).__name__ == 'LoadAnnotations' for transforms, position in places)
        return [position for _, position in places]

    assert positions(PIPELINE) == [1]
    assert positions([PIPELINE[0], branches, PIPELINE[2]]) == [0, 1]
    assert positions([PIPELINE[0], augmented]) == [1, 1]
    assert positions([PIPELINE[0], PIPELINE[2]]) == []


def test_reader_leaves_the_pipeline_as_it_is(tmp_path):
    stock = DATASETS.build(folder_config(tmp_path, labels={'x': (0, 1, 2, 255)}, reduce_zero_label=True))
    labels = LabelReader(stock)(stock.get_data_info(0))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 0, 1, 1, 2, 2, 255, 255]] * 2
    # The stock data set still does what it did: 0 is ignored, the others move down.
    assert stock[0]['data_samples'].gt_sem_seg.data[0, 0].tolist() == [255, 255, 0, 0, 1, 1, 255, 255]


def test_reader_needs_a_loader(tmp_path):
    stock = DATASETS.build(folder_config(tmp_path, pipeline=[PIPELINE[0], PIPELINE[2]]))
    with pytest.raises(ValueError, match='has no LoadAnnotations; mmcss needs the labels, in the test pipeline too'):
        LabelReader(stock)


def test_what_is_no_data_set_is_refused():
    with pytest.raises(TypeError, match='not list'):
        leaves_of([])


def test_loaders_inside_a_transform_that_holds_a_pipeline():
    pipeline = Compose([dict(type='RandomApply', prob=1.0, transforms=[dict(type='LoadAnnotations')])])
    (transforms, position), = find_label_loaders(pipeline)
    assert isinstance(transforms, list) and type(transforms[position]).__name__ == 'LoadAnnotations'
