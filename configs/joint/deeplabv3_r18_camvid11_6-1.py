_base_ = '../finetune/deeplabv3_r18_camvid11_6-1.py'
scenario = dict(joint=True)
