_base_ = '../finetune/deeplabv3_r18_camvid11_domains.py'
scenario = dict(joint=True)
