# A small DeepLabV3 that two cores can train from scratch.
_base_ = './deeplabv3_r101.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=None, size_divisor=16),
    backbone=dict(depth=18, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=512, channels=128, dilations=(1, 3, 6, 9), norm_cfg=norm_cfg))
