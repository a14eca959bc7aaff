# PLOP where steps bring domains (Douillard et al., CVPR 2021, table 5): local POD
# with plain cross-entropy; factors of the authors' script for Cityscapes 11-1.
continual = dict(losses=dict(local_pod=dict(type='LocalPOD', loss_weight=0.0001, logits_weight=0.0001)))
official = dict(
    continual=dict(
        average='all', over_processes=False, losses=dict(local_pod=dict(type='LocalPOD', remainder='drop', fold='sum'))),
    scenario=dict(partition='published'))
