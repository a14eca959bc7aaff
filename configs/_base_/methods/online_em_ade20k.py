# Online EM with the paper's factors on ADE20K.
_base_ = './online_em.py'
continual = dict(loss_decode=dict(gamma=0.1), online=dict(eta=10.0))
