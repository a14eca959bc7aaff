_base_ = '../finetune/deeplabv3_r18_shapes8_5-1.py'
scenario = dict(joint=True)
