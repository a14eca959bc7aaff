# Online EM (Yan et al., ACM MM 2021): class-balanced memory, classes drawn by
# confidence, relabelling by the model as it is, a cosine classifier.
continual = dict(
    classifier=dict(type='CosineClassifier', scale=12.0),
    loss_decode=dict(type='CompositeLoss', threshold=0.8, gamma=0.5),
    memory=dict(size=100, policy='cbes'),
    online=dict(type='DynamicReplay', images=4, eta=1.0, momentum=0.9))
