# No defence against forgetting: the lower bound.
continual = dict()
official = dict(protocol='plop', continual=dict(average='all', over_processes=False))
