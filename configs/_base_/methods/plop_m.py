# PLOP-M: PLOP and 100 remembered images, half of each batch.
_base_ = './plop.py'
continual = dict(memory=dict(size=100, policy='class_balanced', share=0.5, iterations='kept'))
