# Experience replay (ER, Chaudhry et al., 2019) of an online stream: any 4 of 100 remembered images with 4 new ones.
continual = dict(memory=dict(size=100, policy='reservoir'), online=dict(type='UniformReplay', images=4))
