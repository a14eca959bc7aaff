_base_ = './cityscapes_14-1.py'
scenario = dict(base=10)
