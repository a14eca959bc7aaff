_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/ade_100-10.py', '../_base_/schedules/ade20k_ssul.py',
    '../_base_/methods/ssul_m_ade20k.py', '../_base_/default_runtime.py'
]
