# MiB (Cermelli et al., CVPR 2020): unbiased cross-entropy and distillation,
# new classes start as shares of the background.
continual = dict(
    loss_decode=dict(type='UnbiasedCrossEntropyLoss'),
    losses=dict(unkd=dict(type='UnbiasedDistillation', loss_weight=10.0)),
    new_rows='background')
official = dict(
    protocol='mib',
    continual=dict(
        average='all', over_processes=False, ignore_as_background=True,
        loss_decode=dict(type='UnbiasedCrossEntropyLoss', old_labels='background')))
