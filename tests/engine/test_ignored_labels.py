import re

import pytest

from mmcss.engine.ignored_labels import check_ignored_labels
from mmcss.scenario import Split


def split(background='background'):
    return Split(0, (), ('background', 'a'), (), ('background', 'a'), background)


def config(*pipeline, model=None, metric=None, **leaf):
    inner = dict(type='ConcatDataset', datasets=[dict(type='BaseSegDataset', pipeline=list(pipeline), **leaf)])
    return dict(model=model or {}, train_dataloader=dict(dataset=dict(type='StepDataset', dataset=inner)),
                test_evaluator=[metric or dict(type='IoUMetric')])


PIPELINE = 'train_dataloader.dataset.pipeline[0]'
OTHER = {
    'model.decode_head.ignore_index': config(model=dict(decode_head=dict(type='FCNHead', ignore_index=0))),
    'model.auxiliary_head[1].ignore_index': config(model=dict(auxiliary_head=[{}, dict(type='FCNHead', ignore_index=9)])),
    'test_evaluator[0].ignore_index': config(metric=dict(type='IoUMetric', ignore_index=9)),
    f'{PIPELINE}.ignore_index': config(dict(type='RandomCrop', ignore_index=254)),
    f'{PIPELINE}.transforms[0][0].ignore_index': config(
        dict(type='RandomChoice', transforms=[[dict(type='GenerateEdge', ignore_index=9)]])),
    'model.data_preprocessor.seg_pad_val': config(model=dict(data_preprocessor=dict(seg_pad_val=254))),
    f'{PIPELINE}.seg_pad_val': config(dict(type='RandomRotate', seg_pad_val=7)),
    f'{PIPELINE}.seg_fill_in': config(dict(type='RandomCutOut', seg_fill_in=1)),
    f'{PIPELINE}.pad_val.seg': config(dict(type='Pad', pad_val=dict(img=0, seg=19))),
}


@pytest.mark.parametrize('place', OTHER)
def test_another_label_is_refused(place):
    with pytest.raises(ValueError, match=re.escape(place) + ': got -?[0-9]+[;,] .*255'):
        check_ignored_labels(OTHER[place], split())


def test_what_is_right():
    right = config(
        dict(type='RandomCrop', ignore_index=255), dict(type='Pad', pad_val=dict(img=7)), dict(type='Pad', pad_val=3),
        dict(type='RandomCutOut', seg_fill_in=None), dict(type='RandomRotate', seg_pad_val=0),
        model=dict(decode_head=dict(ignore_index=255, loss_decode=dict(type='DiceLoss', ignore_index=0)), data_preprocessor=dict(seg_pad_val=0, pad_val=0)),
        metric=dict(type='IoUMetric', ignore_index=255), ignore_index=9)  # the data set's own is mapped
    check_ignored_labels(right, split())


def test_padding_as_background_needs_a_background():
    padded = config(model=dict(data_preprocessor=dict(seg_pad_val=0)))
    check_ignored_labels(padded, split())
    with pytest.raises(ValueError, match=r'model\.data_preprocessor\.seg_pad_val: got 0, expected 255 \(ignored\):'):
        check_ignored_labels(padded, split(None))
