# SSUL-M on ADE20K: no saliency maps, whatever has no label is unknown. The released code trains for 100 epochs and
# after step 0 with five times the learning rate.
_base_ = './ssul_m.py'
continual = dict(unknown=dict(_delete_=True, of='background'), memory=dict(size=300))
official = dict(train_cfg=dict(max_epochs=100), next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.05))))
