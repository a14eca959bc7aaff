_base_ = './msrc21_15-1.py'
scenario = dict(increment=6)
