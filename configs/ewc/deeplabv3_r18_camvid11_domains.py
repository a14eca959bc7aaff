_base_ = [
    '../_base_/models/deeplabv3_r18_scratch.py', '../_base_/scenarios/camvid11_domains.py',
    '../_base_/schedules/camvid11_domains.py', '../_base_/methods/ewc.py', '../_base_/default_runtime.py'
]
