_base_ = '../finetune/deeplabv3_r101_voc_10-1.py'
scenario = dict(joint=True)
