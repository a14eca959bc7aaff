# ILT-M: ILT and 100 remembered images, half of each batch.
_base_ = './ilt.py'
continual = dict(memory=dict(size=100, policy='class_balanced', share=0.5, iterations='kept'))
