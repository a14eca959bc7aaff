# SSUL-M on ADE20K: SSUL there, and 300 remembered images, half of each batch.
_base_ = './ssul_ade20k.py'
continual = dict(memory=dict(size=300, policy='class_balanced', share=0.5, iterations='kept'))
official = dict(continual=dict(memory=dict(labels='unshifted')))
