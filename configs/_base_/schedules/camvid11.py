_base_ = './small.py'
train_cfg = dict(max_epochs=15)
# Nearly every image holds nearly every class: an epoch is the whole data set.
next_steps = dict(train_cfg=dict(max_epochs=4))
