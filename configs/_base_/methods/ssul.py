# SSUL (Cha et al., NeurIPS 2021): what is salient is unknown until it is
# learned; all but the classifier's rows of background, unknown and new classes
# is frozen; a sigmoid for each class; new classes start as unknown ones.
# Saliency maps: tools/prepare_saliency.py. Without: unknown=dict(of='background').
continual = dict(
    unknown=dict(of='saliency', folder='saliency_map'),
    targets=dict(type='SigmoidPseudoLabels', threshold=0.7),
    loss_decode=dict(type='BinaryCrossEntropyLoss', classes='all'),
    new_rows='unknown',
    frozen=['shared', 'old'])
official = dict(
    protocol='ssul',
    model=dict(data_preprocessor=dict(seg_pad_val=0)),
    continual=dict(classifier='StepHeads', frozen=['shared', 'old', 'norms'], row_lr=dict(background=1e-4)))
