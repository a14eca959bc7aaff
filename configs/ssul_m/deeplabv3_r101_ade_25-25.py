_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/ade_25-25.py', '../_base_/schedules/ade20k_ssul.py',
    '../_base_/methods/ssul_m_ade20k.py', '../_base_/default_runtime.py'
]
# 24 images a batch on two devices.
train_dataloader = dict(batch_size=12)
