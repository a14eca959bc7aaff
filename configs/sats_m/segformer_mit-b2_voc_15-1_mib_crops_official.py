# As the authors' code: its images, switches and protocol.
_base_ = [
    '../_base_/models/segformer_mit-b2.py', '../_base_/scenarios/voc_15-1_mib_crops.py',
    '../_base_/schedules/voc_sats.py', '../_base_/methods/sats_m.py', '../_base_/default_runtime.py'
]
profile = 'official'
