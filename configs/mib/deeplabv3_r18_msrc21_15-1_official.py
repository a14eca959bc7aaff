_base_ = './deeplabv3_r18_msrc21_15-1.py'
profile = 'official'
