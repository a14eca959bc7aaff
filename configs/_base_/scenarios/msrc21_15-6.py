_base_ = '../datasets/msrc21.py'
scenario = dict(type='ClassIncremental', base=15, increment=6, regime='overlapped')
protocol = dict(future='background', background=True, images='seen')
