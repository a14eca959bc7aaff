# SATS: as MiB and PLOP on VOC, but the learning rate falls by a tenth each epoch; on ADE20K too.
_base_ = './voc.py'
param_scheduler = [dict(type='ExponentialLR', gamma=0.9, by_epoch=True)]
