# LwF-MC (Rebuffi et al., CVPR 2017): a sigmoid for each class, whose target is
# the teacher's for old classes and the label's for new ones. The authors of MiB
# and PLOP let the labels teach all classes, and the teacher ten times as much.
continual = dict(
    loss_decode=dict(type='BinaryCrossEntropyLoss', classes='new'),
    losses=dict(bce_kd=dict(type='BinaryDistillation', loss_weight=1.0)))
official = dict(
    protocol='plop',
    continual=dict(
        average='all',
        over_processes=False,
        loss_decode=dict(type='BinaryCrossEntropyLoss', classes='all'),
        losses=dict(bce_kd=dict(type='BinaryDistillation', loss_weight=10.0))))
