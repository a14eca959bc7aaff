# A small Segformer that two cores can train from scratch.
_base_ = './segformer_mit-b0.py'
model = dict(
    data_preprocessor=dict(size=None, size_divisor=32),
    backbone=dict(init_cfg=None, drop_path_rate=0.02),
    decode_head=dict(channels=128, norm_cfg=dict(type='BN', requires_grad=True)))
