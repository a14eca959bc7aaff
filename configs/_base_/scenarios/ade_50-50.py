_base_ = '../datasets/ade20k.py'
scenario = dict(type='ClassIncremental', base=50, increment=50, regime='overlapped')
