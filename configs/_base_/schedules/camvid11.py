_base_ = './small.py'
train_cfg = dict(max_epochs=15)
# Nearly every image holds nearly every class: an epoch is the whole data set.
# New rows of the classifier start as copies of the background's (MiB, PLOP): at
# the backbone's learning rate a few hundred iterations would hardly part them.
next_steps = dict(
    train_cfg=dict(max_epochs=4), optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'conv_seg': dict(lr_mult=10.0)})))
