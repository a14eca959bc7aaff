# MiB and PLOP on VOC: 24 images a batch on two devices, 30 epochs a step.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30)
next_steps = dict(optim_wrapper=dict(optimizer=dict(lr=0.001)))
