# SATS-M: SATS and 100 remembered images, half of each batch; all new images of an epoch are seen.
_base_ = './sats.py'
continual = dict(memory=dict(size=100, policy='class_balanced', share=0.5, iterations='all_new'))
# The released code remembers 300 on VOC as well, the first ones of each class, and lets the teacher relabel what they
# show of old classes.
official = dict(
    continual=dict(
        memory=dict(size=300, policy='first'), targets=dict(type='EntropyPseudoLabels', overwrite_old=True)))
