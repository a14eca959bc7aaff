_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/voc_15-5_disjoint.py', '../_base_/schedules/voc_ssul.py',
    '../_base_/methods/ssul_m.py', '../_base_/default_runtime.py'
]
# 32 images a batch on two devices.
train_dataloader = dict(batch_size=16)
