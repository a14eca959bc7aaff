# A DeepLabV3 on a ResNet-50 of half the width that two cores can train, from
# weights of ImageNet (in Caffe's form: BGR, no division): a file below
# pretrained/ (docs/data.md).
_base_ = './deeplabv3_r101.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=None, size_divisor=16, mean=[104.0, 117.0, 123.0], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        type='ResNet',
        depth=50,
        base_channels=32,
        stem_channels=64,
        style='caffe',
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/resnet50_half.pth')),
    decode_head=dict(in_channels=1024, channels=128, norm_cfg=norm_cfg))
