# CamVid with the 11 classes of the SegNet tutorial; 0 is unlabelled, the background here.
_base_ = './small_folder.py'
data_root = 'data/camvid11'
metainfo = dict(
    classes=('background', 'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'signsymbol', 'fence', 'car',
             'pedestrian', 'bicyclist'),
    palette=[[0, 0, 0], [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
             [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192]])
train_dataloader = dict(dataset=dict(data_root=data_root, img_suffix='.jpg', metainfo=metainfo))
test_dataloader = dict(dataset=dict(data_root=data_root, img_suffix='.jpg', metainfo=metainfo))
