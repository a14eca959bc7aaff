# As the authors' code: its network, images, switches and protocol.
_base_ = [
    '../_base_/models/deeplabv3_r101_inplace_abn.py', '../_base_/scenarios/voc_15-1_mib_crops.py',
    '../_base_/schedules/voc.py', '../_base_/methods/plop.py', '../_base_/default_runtime.py'
]
profile = 'official'
