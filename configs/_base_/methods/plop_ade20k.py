# PLOP with the authors' factors on ADE20K.
_base_ = './plop.py'
official = dict(
    continual=dict(losses=dict(local_pod=dict(type='LocalPOD', loss_weight=0.001, logits_weight=0.00001))))
