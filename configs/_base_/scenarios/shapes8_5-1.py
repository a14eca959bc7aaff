_base_ = '../datasets/shapes8.py'
scenario = dict(type='ClassIncremental', base=5, increment=1, regime='overlapped')
