# MIR (Aljundi et al., NeurIPS 2019): those remembered images that an update on the new ones would harm most.
continual = dict(
    memory=dict(size=100, policy='reservoir'), online=dict(type='InterferedReplay', images=4, candidates=50))
