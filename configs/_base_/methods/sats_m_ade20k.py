# SATS-M on ADE20K: 300 remembered images, half of each batch.
_base_ = './sats_m.py'
continual = dict(memory=dict(size=300))
