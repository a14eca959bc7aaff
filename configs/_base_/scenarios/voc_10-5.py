_base_ = '../datasets/voc2012.py'
scenario = dict(type='ClassIncremental', base=10, increment=5, regime='overlapped')
