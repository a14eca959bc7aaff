# Transformers on ADE20K: as on VOC, 60 epochs a step.
_base_ = './voc_adamw.py'
train_cfg = dict(max_epochs=60)
