# EWC (Kirkpatrick et al., PNAS 2017) as MiB and PLOP compare with it: weights of
# a large Fisher information stay where they were. MiB's repository has a weight of 500.
continual = dict(losses=dict(ewc=dict(type='ElasticWeightConsolidation', loss_weight=100.0)))
official = dict(
    protocol='plop',
    continual=dict(
        average='all', over_processes=False, losses=dict(ewc=dict(type='ElasticWeightConsolidation', start=1.0))))
