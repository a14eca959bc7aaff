_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/cityscapes_14-1.py', '../_base_/schedules/voc.py',
    '../_base_/methods/mib.py', '../_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(512, 1024)))
