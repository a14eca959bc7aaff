# MiB where steps bring domains, as PLOP compares with it: without new classes
# only plain distillation is left, with MiB's factor.
continual = dict(losses=dict(kd=dict(type='KnowledgeDistillation', loss_weight=10.0)))
official = dict(continual=dict(average='all', over_processes=False), scenario=dict(partition='published'))
