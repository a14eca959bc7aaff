_base_ = [
    '../_base_/models/deeplabv3_r18_scratch.py', '../_base_/scenarios/shapes8_5-1.py', '../_base_/schedules/shapes8.py',
    '../_base_/methods/sdr.py', '../_base_/quiet_runtime.py'
]
