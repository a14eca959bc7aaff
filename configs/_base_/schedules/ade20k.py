# MiB and PLOP on ADE20K: as on VOC, 60 epochs a step.
_base_ = './voc.py'
train_cfg = dict(max_epochs=60)
