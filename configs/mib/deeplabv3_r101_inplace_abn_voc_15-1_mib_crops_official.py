# As the authors' code: its network, images, switches and protocol.
_base_ = [
    '../_base_/models/deeplabv3_r101_inplace_abn.py', '../_base_/scenarios/voc_15-1_mib_crops.py',
    '../_base_/schedules/voc.py', '../_base_/methods/mib.py', '../_base_/default_runtime.py'
]
profile = 'official'
# The authors' weight for this scenario (MiB issue 22); 10 in their others, and in PLOP's comparison.
official = dict(continual=dict(losses=dict(unkd=dict(type='UnbiasedDistillation', loss_weight=100.0))))
