# The switches and the protocol of the authors' code.
_base_ = './deeplabv3_r101_voc_15-1.py'
profile = 'official'
