_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/ade_100-50.py',
    '../_base_/schedules/ade20k.py', '../_base_/methods/reminder.py', '../_base_/default_runtime.py'
]
# The authors' factors on ADE20K, and their epochs and learning rate of the steps from 1 on.
official = dict(
    continual=dict(
        losses=dict(
            local_pod=dict(type='LocalPOD', loss_weight=0.001, logits_weight=0.00001),
            csw_kd=dict(type='ClassSimilarityWeightedKD', delta=1.0))),
    next_steps=dict(train_cfg=dict(max_epochs=70), optim_wrapper=dict(optimizer=dict(lr=0.0008))))
