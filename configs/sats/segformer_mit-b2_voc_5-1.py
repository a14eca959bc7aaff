_base_ = [
    '../_base_/models/segformer_mit-b2.py', '../_base_/scenarios/voc_5-1.py', '../_base_/schedules/voc_sats.py',
    '../_base_/methods/sats.py', '../_base_/default_runtime.py'
]
