# VOC 2012 cut as in MiB's and PLOP's code: training squeezes 50 to 100 % of an
# image into 512 x 512; tests are of the 512 x 512 in the middle of the image
# and the labels, whose short side is resized to 512.
_base_ = './voc2012.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResizedCrop', size=(512, 512), scale=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='ResizeShortestEdge', scale=512, max_size=100000),
    dict(type='CenterCrop', crop_size=(512, 512)),
    dict(type='ScoreAsResized'),
    dict(type='PackSegInputs')
]
# The same part of the image, and its mirror image.
tta_pipeline = [
    *test_pipeline[:-1],
    dict(type='TestTimeAug',
         transforms=[[dict(type='RandomFlip', prob=0., direction='horizontal'),
                      dict(type='RandomFlip', prob=1., direction='horizontal')], [dict(type='PackSegInputs')]])
]
train_dataloader = dict(
    dataset=dict(datasets=[dict(part, pipeline=train_pipeline) for part in (_base_.dataset_train, _base_.dataset_aug)]))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
