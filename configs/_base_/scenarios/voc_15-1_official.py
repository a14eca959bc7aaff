_base_ = '../datasets/voc2012_official.py'
scenario = dict(type='ClassIncremental', base=15, increment=1, regime='overlapped')
