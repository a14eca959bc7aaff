_base_ = [
    '../_base_/models/segformer_mit-b2.py', '../_base_/scenarios/ade_50-50.py', '../_base_/schedules/voc_sats.py',
    '../_base_/methods/sats.py', '../_base_/default_runtime.py'
]
# 32 images a batch on two devices.
train_dataloader = dict(batch_size=16)
