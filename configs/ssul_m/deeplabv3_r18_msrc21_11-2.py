_base_ = [
    '../_base_/models/deeplabv3_r18_scratch.py', '../_base_/scenarios/msrc21_11-2.py', '../_base_/schedules/msrc21.py',
    '../_base_/methods/ssul_m.py', '../_base_/default_runtime.py'
]
# Maps: python tools/prepare_saliency.py CONFIG --opencv fine_grained. Only the classifier's new rows learn, and fast.
continual = dict(unknown=dict(folder='../msrc21_saliency'))
next_steps = dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'conv_seg': dict(lr_mult=10.0)})))
