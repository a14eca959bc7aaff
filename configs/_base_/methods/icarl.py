# iCaRL (Rebuffi et al., CVPR 2017) on an online stream: LwF-MC's losses, images that stand for the mean of
# their class, and prediction by the nearest of these means.
_base_ = './lwf_mc_online.py'
continual = dict(classifier='NearestMean', memory=dict(policy='herding'))
