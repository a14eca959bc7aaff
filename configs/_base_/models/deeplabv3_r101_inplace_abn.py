# The network of MiB's and PLOP's code: leaky ReLUs, one norm over the branches
# of the ASPP, no dropout. Its ImageNet weights are InPlace-ABN's, converted:
# python tools/convert_inplace_abn.py resnet101_iabn_sync.pth.tar pretrained/resnet101_iabn.pth
_base_ = './deeplabv3_r101.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    pretrained=None,
    backbone=dict(
        type='LeakyResNet', init_cfg=dict(type='Pretrained', checkpoint='pretrained/resnet101_iabn.pth')),
    decode_head=dict(
        _delete_=True,
        type='SharedNormASPPHead',
        in_channels=2048,
        in_index=3,
        channels=256,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)))
