# SATS (Qiu et al., Pattern Recognition 2023): PLOP's pseudo labels without the
# adaptive factor, MiB's distillation, and a transfer of attention over the
# regions of classes. For MiT, Swin and ViT backbones.
_base_ = './plop.py'
continual = dict(
    targets=dict(adaptive_factor=False),
    losses=dict(
        local_pod=None,
        unkd=dict(type='UnbiasedDistillation', loss_weight=20.0),
        attention=dict(type='AttentionTransfer', loss_weight=20.0)))
official = dict(
    continual=dict(
        targets=dict(type='EntropyPseudoLabels', true_background=True, infinite=0.005),
        losses=dict(attention=dict(type='AttentionTransfer', layout='reshape'))),
    param_scheduler=[dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)])
