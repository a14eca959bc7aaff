_base_ = './deeplabv3_r18_camvid11_6-1.py'
profile = 'official'
