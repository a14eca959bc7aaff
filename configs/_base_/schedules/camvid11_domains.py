# A domain has 50 to 160 images: more epochs than where each step sees all of them.
_base_ = './small.py'
train_cfg = dict(max_epochs=60)
next_steps = dict(train_cfg=dict(max_epochs=15))
