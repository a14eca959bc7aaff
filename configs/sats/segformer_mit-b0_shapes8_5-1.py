_base_ = [
    '../_base_/models/segformer_mit-b0_scratch.py', '../_base_/scenarios/shapes8_5-1.py',
    '../_base_/schedules/shapes8.py', '../_base_/methods/sats.py', '../_base_/default_runtime.py'
]
