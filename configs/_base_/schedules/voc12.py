# As the papers train VOC (SGD, poly, a tenth of the learning rate after step
# 0), half as many epochs, the new head at ten times the backbone's rate at step 0.
_base_ = './voc.py'
train_cfg = dict(max_epochs=15)
first_step = dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0)))))
