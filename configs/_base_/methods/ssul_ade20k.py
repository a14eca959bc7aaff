# SSUL on ADE20K: no saliency maps, whatever has no label is unknown. The released code trains for 100 epochs,
# ten of them with a learning rate that rises, and after step 0 with five times the rate.
_base_ = './ssul.py'
continual = dict(unknown=dict(_delete_=True, of='background'))
official = dict(
    model=dict(data_preprocessor=dict(seg_pad_val=255)),
    train_cfg=dict(max_epochs=100),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.001, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
        dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)
    ],
    next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.05))))
