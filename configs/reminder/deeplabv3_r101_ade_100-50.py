_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/ade_100-50.py',
    '../_base_/schedules/ade20k.py', '../_base_/methods/reminder_ade20k.py', '../_base_/default_runtime.py'
]
# The authors' learning rate of this scenario's step 1.
official = dict(next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.0008))))
