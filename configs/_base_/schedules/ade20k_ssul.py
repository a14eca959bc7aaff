# SSUL on ADE20K: 24 images a batch on two devices, 60 epochs a step. The
# released code has 100, and after step 0 five times the learning rate.
_base_ = './voc_ssul.py'
train_dataloader = dict(batch_size=12)
train_cfg = dict(max_epochs=60)
official = dict(
    train_cfg=dict(max_epochs=100),
    next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.05))))
