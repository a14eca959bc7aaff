_base_ = './small.py'
train_cfg = dict(max_epochs=15)
# New rows start as copies of the background's: at the backbone's learning rate
# these few iterations would hardly part them.
next_steps = dict(
    train_cfg=dict(max_epochs=12),
    optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'conv_seg': dict(lr_mult=10.0)})))
