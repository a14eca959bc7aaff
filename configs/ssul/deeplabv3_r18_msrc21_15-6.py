_base_ = [
    '../_base_/models/deeplabv3_r18_scratch.py', '../_base_/scenarios/msrc21_15-6.py',
    '../_base_/schedules/msrc21.py', '../_base_/methods/ssul.py', '../_base_/default_runtime.py'
]
# Maps beside the data set: python tools/prepare_saliency.py CONFIG --opencv fine_grained.
# On these few images only the classifier's new rows learn, and they do so ten times as fast as in other methods.
continual = dict(unknown=dict(folder='../msrc21_saliency'))
next_steps = dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'conv_seg': dict(lr_mult=10.0)})))
