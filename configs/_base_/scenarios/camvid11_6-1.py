_base_ = '../datasets/camvid11.py'
scenario = dict(type='ClassIncremental', base=6, increment=1, regime='overlapped')
protocol = dict(future='background', background=True, images='seen')
