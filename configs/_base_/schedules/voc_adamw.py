# Transformers on VOC: AdamW, 30 epochs a step.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.), 'norm': dict(decay_mult=0.)}))
param_scheduler = [dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30)
next_steps = dict(optim_wrapper=dict(optimizer=dict(lr=6e-6)))
