_base_ = './small.py'
train_cfg = dict(max_epochs=30)
next_steps = dict(train_cfg=dict(max_epochs=12), optim_wrapper=dict(optimizer=dict(lr=0.01)))
