# Step 0 as ever; then each image once, 4 new ones a batch, at a constant learning rate.
_base_ = './voc12.py'
next_steps = dict(
    train_cfg=dict(max_epochs=1), train_dataloader=dict(batch_size=4, drop_last=False), param_scheduler=[])
