_base_ = '../finetune/deeplabv3_r18_msrc21_15-6.py'
scenario = dict(joint=True)
