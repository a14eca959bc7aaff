# Cityscapes by class. A background stands for what has no label at a step; when
# all classes are seen, no pixel is left of it, so it is not scored, nor are future classes.
_base_ = '../datasets/cityscapes.py'
scenario = dict(type='ClassIncremental', base=14, increment=1, regime='overlapped')
protocol = dict(background=False)
