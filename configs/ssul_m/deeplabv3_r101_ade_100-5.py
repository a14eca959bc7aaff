_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/ade_100-5.py',
    '../_base_/schedules/ade20k_ssul.py', '../_base_/methods/ssul_m.py', '../_base_/default_runtime.py'
]
# Without saliency maps: whatever has no label is unknown.
continual = dict(unknown=dict(_delete_=True, of='background'), memory=dict(size=300))
