# LwF-MC*: LwF-MC's losses on an online stream and what is remembered of it, as online EM (ACM MM 2021) compares.
_base_ = './lwf_mc.py'
continual = dict(memory=dict(size=100, policy='reservoir'), online=dict(type='UniformReplay', images=4))
