_base_ = [
    '../_base_/models/segformer_mit-b2.py', '../_base_/scenarios/cityscapes_14-1.py', '../_base_/schedules/voc_sats.py',
    '../_base_/methods/sats.py', '../_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(512, 1024)))
# The authors' protocol would score the background.
official = dict(protocol=dict(_delete_=True, background=False))
