_base_ = [
    '../_base_/models/upernet_swin-t.py', '../_base_/scenarios/voc_15-1.py', '../_base_/schedules/voc_adamw.py',
    '../_base_/methods/plop.py', '../_base_/default_runtime.py'
]
