_base_ = './small.py'
train_cfg = dict(max_epochs=15)
next_steps = dict(train_cfg=dict(max_epochs=12))
