_base_ = './small.py'
train_cfg = dict(max_epochs=30)
# New classes come with about 20 to 90 images, so that an epoch is a few batches.
next_steps = dict(train_cfg=dict(max_epochs=30))
