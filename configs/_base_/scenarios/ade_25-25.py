_base_ = '../datasets/ade20k.py'
scenario = dict(type='ClassIncremental', base=25, increment=25, regime='overlapped')
