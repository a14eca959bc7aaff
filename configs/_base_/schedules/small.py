# For models trained from scratch on two cores: AdamW learns far more than SGD
# in the few hundred iterations there is time for.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20)
next_steps = dict(optim_wrapper=dict(optimizer=dict(lr=3e-4)))
