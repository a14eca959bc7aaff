_base_ = '../finetune/deeplabv3_r18_msrc21_15-1.py'
scenario = dict(joint=True)
