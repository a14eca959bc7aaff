# MMSegmentation's own file, with the sizes and weights of its Swin-T and its auxiliary head.
_base_ = 'mmseg::_base_/models/upernet_swin.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/' \
    'swin_tiny_patch4_window7_224_20220317-1cdeb081.pth'
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
        depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, drop_path_rate=0.3),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384))
