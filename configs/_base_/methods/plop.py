# PLOP (Douillard et al., CVPR 2021): pseudo labels by entropy, local POD,
# MiB's start of new classes.
continual = dict(
    targets=dict(type='EntropyPseudoLabels'),
    losses=dict(local_pod=dict(type='LocalPOD', loss_weight=0.01, logits_weight=0.0005)),
    new_rows='background')
official = dict(
    protocol='plop',
    continual=dict(
        average='all',
        over_processes=False,
        targets=dict(
            type='EntropyPseudoLabels',
            measure='code',
            estimator='histogram',
            over_processes=False,
            nu_without_background=0.0),
        losses=dict(local_pod=dict(type='LocalPOD', remainder='drop', fold='sum'))))
