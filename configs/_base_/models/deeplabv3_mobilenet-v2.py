# A DeepLabV3 on MobileNetV2 that two cores can train, from weights of ImageNet:
# a file below pretrained/ (docs/data.md). Where they can be downloaded,
# 'mmcls://mobilenet_v2' stands for it.
_base_ = './deeplabv3_r101.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=None, size_divisor=16),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        widen_factor=1.0,
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(1, 2, 4, 6),
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/mobilenet_v2_imagenet.pth')),
    decode_head=dict(in_channels=320, channels=128, norm_cfg=norm_cfg))
