_base_ = '../datasets/ade20k.py'
scenario = dict(type='ClassIncremental', base=100, increment=10, regime='overlapped')
