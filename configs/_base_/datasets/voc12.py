# A part of PASCAL VOC 2012: 12 of its classes, 0 is the background and 255
# (borders) is ignored. Its split is its own, so that results on it can't be
# held against published ones.
_base_ = './small_folder.py'
data_root = 'data/voc12'
metainfo = dict(
    classes=('background', 'bottle', 'car', 'cat', 'chair', 'cow', 'dog', 'horse', 'person', 'pottedplant', 'sheep',
             'sofa', 'tvmonitor'),
    palette=[[0, 0, 0], [128, 0, 128], [128, 128, 128], [64, 0, 0], [192, 0, 0], [64, 128, 0], [64, 0, 128],
             [192, 0, 128], [192, 128, 128], [0, 64, 0], [128, 64, 0], [0, 192, 0], [0, 64, 128]])
# The papers augment VOC by scale, crop and flip alone.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(320, 160), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    dataset=dict(data_root=data_root, img_suffix='.jpg', metainfo=metainfo, pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root, img_suffix='.jpg', metainfo=metainfo))
