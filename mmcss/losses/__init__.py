"""Equations (tensors in, tensor out) and the thin registered losses around them.

Every file of this folder is imported, so that a new one registers its losses.
"""
from importlib import import_module
from pkgutil import iter_modules

from .binary import BinaryCrossEntropyLoss, BinaryDistillation, binary_cross_entropy, binary_distillation
from .decode_loss import DecodeLoss
from .ilt import FeatureDistillation
from .lwf import KnowledgeDistillation, knowledge_distillation
from .gradient_projection import project
from .mib import UnbiasedCrossEntropyLoss, UnbiasedDistillation, unbiased_cross_entropy, unbiased_distillation
from .online_em import CompositeLoss
from .plop import LocalPOD, fold_new_into_background, local_pod, pooled_strips
from .prototypes import class_means, class_shares, class_sums
from .reduce import mean_over_valid
from .reminder import ClassSimilarityWeightedKD, similarity_weights, weighted_distillation

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = [
    'BinaryCrossEntropyLoss', 'BinaryDistillation', 'ClassSimilarityWeightedKD', 'DecodeLoss', 'FeatureDistillation',
    'KnowledgeDistillation', 'LocalPOD', 'UnbiasedCrossEntropyLoss', 'UnbiasedDistillation', 'binary_cross_entropy',
    'binary_distillation', 'class_means', 'class_shares', 'class_sums', 'fold_new_into_background',
    'knowledge_distillation', 'local_pod', 'mean_over_valid', 'pooled_strips', 'similarity_weights',
    'unbiased_cross_entropy', 'unbiased_distillation', 'weighted_distillation'
]
