_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/voc_10-1.py', '../_base_/schedules/voc.py',
    '../_base_/methods/plop.py', '../_base_/default_runtime.py'
]
# The authors' epochs of the steps from 1 on.
official = dict(next_steps=dict(train_cfg=dict(max_epochs=10)))
