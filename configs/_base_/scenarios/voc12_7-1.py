# Sheep and cow resemble horse, which is learned before them; the three classes
# after them have 26 to 37 training images each.
_base_ = '../datasets/voc12.py'
scenario = dict(
    type='ClassIncremental',
    base=7,
    increment=1,
    regime='overlapped',
    class_order=[
        'person', 'cat', 'dog', 'chair', 'car', 'sofa', 'horse', 'sheep', 'cow', 'pottedplant', 'bottle', 'tvmonitor'
    ])
