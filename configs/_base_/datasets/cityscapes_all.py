# Cityscapes' training and validation images together (3475 of 21 cities), as
# PLOP's scenarios of cities have them: what is kept for tests is drawn from them.
_base_ = './cityscapes.py'
dataset_train = dict(
    type='CityscapesDataset',
    data_root={{_base_.data_root}},
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'))
dataset_val = dict(
    type='CityscapesDataset',
    data_root={{_base_.data_root}},
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(pipeline={{_base_.train_pipeline}}, **dataset_train),
            dict(pipeline={{_base_.train_pipeline}}, **dataset_val)
        ]))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(pipeline={{_base_.test_pipeline}}, **dataset_train),
            dict(pipeline={{_base_.test_pipeline}}, **dataset_val)
        ]))
