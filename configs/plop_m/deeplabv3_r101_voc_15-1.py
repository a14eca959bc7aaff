_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/voc_15-1.py', '../_base_/schedules/voc.py',
    '../_base_/methods/plop_m.py', '../_base_/default_runtime.py'
]
