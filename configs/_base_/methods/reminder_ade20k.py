# REMINDER with the authors' factors on ADE20K, and their epochs and learning rate of the steps from 1 on.
_base_ = './reminder.py'
official = dict(
    continual=dict(
        losses=dict(
            local_pod=dict(type='LocalPOD', loss_weight=0.001, logits_weight=0.00001),
            csw_kd=dict(type='ClassSimilarityWeightedKD', delta=1.0))),
    next_steps=dict(train_cfg=dict(max_epochs=70)))
