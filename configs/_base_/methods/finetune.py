# No defence against forgetting: the lower bound.
continual = dict()
