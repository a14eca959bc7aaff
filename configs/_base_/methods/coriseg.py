# CoRiSeg (Ozdemir et al., MICCAI 2018) on an online stream: distillation, and sure images that stand for the others.
_base_ = './lwf.py'
continual = dict(memory=dict(size=100, policy='confident'), online=dict(type='UniformReplay', images=4))
