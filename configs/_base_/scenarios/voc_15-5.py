_base_ = '../datasets/voc2012.py'
scenario = dict(type='ClassIncremental', base=15, increment=5, regime='overlapped')
