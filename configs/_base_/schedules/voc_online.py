# Online EM (ACM MM 2021): step 0 as ever, for 60 epochs; then each image once, 4 new ones a batch (on one device).
_base_ = './voc.py'
train_cfg = dict(max_epochs=60)
next_steps = dict(
    train_cfg=dict(max_epochs=1), train_dataloader=dict(batch_size=4, drop_last=False), param_scheduler=[])
