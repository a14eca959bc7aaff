_base_ = [
    '../_base_/models/deeplabv3_r18_scratch.py', '../_base_/scenarios/msrc21_11-2.py', '../_base_/schedules/msrc21.py',
    '../_base_/methods/mib.py', '../_base_/default_runtime.py'
]
