# LwF (Li and Hoiem, ECCV 2016) as MiB and PLOP compare with it: plain distillation.
continual = dict(losses=dict(kd=dict(type='KnowledgeDistillation', loss_weight=100.0)))
official = dict(protocol='plop', continual=dict(average='all', over_processes=False))
