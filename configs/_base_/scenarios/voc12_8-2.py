# New classes of many images: cat and dog, then sheep and cow.
_base_ = './voc12_7-1.py'
scenario = dict(
    base=8,
    increment=2,
    class_order=[
        'person', 'horse', 'chair', 'car', 'sofa', 'pottedplant', 'bottle', 'tvmonitor', 'cat', 'dog', 'sheep', 'cow'
    ])
