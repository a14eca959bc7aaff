# REMINDER (Phan et al., CVPR 2022): PLOP, and on pixels of new classes a
# distillation of the old classes that resemble them.
_base_ = './plop.py'
continual = dict(losses=dict(csw_kd=dict(type='ClassSimilarityWeightedKD', loss_weight=0.5)))
# Threshold 0 in the authors' VOC scripts.
official = dict(
    continual=dict(
        losses=dict(csw_kd=dict(type='ClassSimilarityWeightedKD', delta=0.0, weighting='batches', align_corners=True))))
