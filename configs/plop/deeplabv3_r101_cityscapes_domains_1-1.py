_base_ = [
    '../_base_/models/deeplabv3_r101.py', '../_base_/scenarios/cityscapes_domains_1-1.py',
    '../_base_/schedules/cityscapes_domains.py', '../_base_/methods/plop_domain.py', '../_base_/default_runtime.py'
]
# The authors' script for 1-1 has another factor on the logits.
continual = dict(losses=dict(local_pod=dict(logits_weight=0.001)))
