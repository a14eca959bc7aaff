# PLOP's scripts for Cityscapes: as on VOC, 50 epochs a step.
_base_ = './voc.py'
train_cfg = dict(max_epochs=50)
