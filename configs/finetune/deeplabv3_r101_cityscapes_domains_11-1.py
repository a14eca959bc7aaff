_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/cityscapes_domains_11-1.py',
    '../_base_/schedules/cityscapes_domains.py', '../_base_/methods/finetune.py', '../_base_/default_runtime.py'
]
