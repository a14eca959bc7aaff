_base_ = '../datasets/voc2012_mib_crops.py'
scenario = dict(type='ClassIncremental', base=15, increment=1, regime='overlapped')
