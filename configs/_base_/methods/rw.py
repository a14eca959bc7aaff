# RW, Riemannian walk (Chaudhry et al., ECCV 2018), as MiB and PLOP compare with it: EWC's
# importance, and what a weight took off the loss for how far the output went.
continual = dict(losses=dict(rw=dict(type='RiemannianWalk', loss_weight=100.0)))
official = dict(
    protocol='plop',
    continual=dict(
        average='all', over_processes=False, losses=dict(rw=dict(type='RiemannianWalk', start=1.0, gradient='current'))))
