_base_ = '../datasets/voc2012.py'
scenario = dict(type='ClassIncremental', base=5, increment=1, regime='overlapped')
