_base_ = '../datasets/voc2012.py'
scenario = dict(type='ClassIncremental', base=2, increment=2, regime='overlapped')
