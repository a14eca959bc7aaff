_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/cityscapes_14-1.py', '../_base_/schedules/voc_ssul.py',
    '../_base_/methods/ssul_m.py', '../_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(512, 1024)))
# Whatever has no label is unknown.
continual = dict(unknown=dict(_delete_=True, of='background'))
# The authors' protocol would score the background.
official = dict(protocol=dict(_delete_=True, background=False))
