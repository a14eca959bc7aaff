# ILT (Michieli and Zanuttigh, ICCV workshops 2019) as MiB and PLOP compare with
# it: LwF, and the mean squared error between the backbones' outputs.
_base_ = './lwf.py'
continual = dict(losses=dict(features=dict(type='FeatureDistillation', loss_weight=100.0)))
