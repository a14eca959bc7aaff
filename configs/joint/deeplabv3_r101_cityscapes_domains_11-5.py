_base_ = '../finetune/deeplabv3_r101_cityscapes_domains_11-5.py'
scenario = dict(joint=True)
