# PI, synaptic intelligence (Zenke et al., ICML 2017), as MiB and PLOP compare with
# it: weights whose way took much off the loss stay. MiB's repository has a weight of 500.
continual = dict(losses=dict(pi=dict(type='PathIntegral', loss_weight=100.0)))
official = dict(
    protocol='plop',
    continual=dict(
        average='all',
        over_processes=False,
        losses=dict(pi=dict(type='PathIntegral', gradient='current', damping=1e-20))))
