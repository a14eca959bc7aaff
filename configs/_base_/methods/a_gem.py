# A-GEM (Chaudhry et al., ICLR 2019): no update goes against the gradient of remembered images.
continual = dict(memory=dict(size=100, policy='reservoir'), online=dict(type='GradientReference', images=4))
