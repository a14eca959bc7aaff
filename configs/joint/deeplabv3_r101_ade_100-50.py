_base_ = '../finetune/deeplabv3_r101_ade_100-50.py'
scenario = dict(joint=True)
