# MSRC v2 with cleaned-up segmentations; 0 is unlabelled, the background here.
_base_ = './small_folder.py'
data_root = 'data/msrc21'
metainfo = dict(
    classes=('background', 'building', 'grass', 'tree', 'cow', 'sheep', 'sky', 'aeroplane', 'water', 'face', 'car',
             'bicycle', 'flower', 'sign', 'bird', 'book', 'chair', 'road', 'cat', 'dog', 'body', 'boat'),
    palette=[[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [0, 128, 128], [128, 128, 128],
             [192, 0, 0], [64, 128, 0], [192, 128, 0], [64, 0, 128], [192, 0, 128], [64, 128, 128], [192, 128, 128],
             [0, 64, 0], [0, 192, 0], [128, 64, 0], [128, 64, 128], [0, 192, 128], [128, 192, 128], [64, 64, 0],
             [192, 64, 0]])
train_dataloader = dict(dataset=dict(data_root=data_root, img_suffix='.jpg', metainfo=metainfo))
test_dataloader = dict(dataset=dict(data_root=data_root, img_suffix='.jpg', metainfo=metainfo))
