# SSUL-M: SSUL and 100 remembered images (300 on ADE20K), half of each batch.
_base_ = './ssul.py'
continual = dict(memory=dict(size=100, policy='class_balanced', share=0.5, iterations='kept'))
official = dict(continual=dict(memory=dict(labels='unshifted')))
