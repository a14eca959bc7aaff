_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/ade_25-25.py', '../_base_/schedules/ade20k.py',
    '../_base_/methods/plop.py', '../_base_/default_runtime.py'
]
# The authors' factors on ADE20K.
official = dict(
    continual=dict(losses=dict(local_pod=dict(type='LocalPOD', loss_weight=0.001, logits_weight=0.00001))))
