_base_ = [
    '../_base_/models/deeplabv3_r18_scratch.py', '../_base_/scenarios/camvid11_6-1.py',
    '../_base_/schedules/camvid11.py', '../_base_/methods/sdr.py', '../_base_/default_runtime.py'
]
