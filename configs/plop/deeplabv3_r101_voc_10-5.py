_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/voc_10-5.py', '../_base_/schedules/voc.py',
    '../_base_/methods/plop.py', '../_base_/default_runtime.py'
]
