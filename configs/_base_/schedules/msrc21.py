_base_ = './small.py'
train_cfg = dict(max_epochs=30)
# New classes come with about 20 to 90 images, so that an epoch is a few
# batches; at a higher learning rate these few images overrun all that was learned.
next_steps = dict(train_cfg=dict(max_epochs=30), optim_wrapper=dict(optimizer=dict(lr=1e-4)))
