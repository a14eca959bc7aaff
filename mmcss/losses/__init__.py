"""Equations (tensors in, tensor out) and the thin registered losses around them.

Every file of this folder is imported, so that a new one registers its losses.
"""
from importlib import import_module
from pkgutil import iter_modules

from .binary import BinaryCrossEntropyLoss, BinaryDistillation, binary_cross_entropy, binary_distillation
from .decode_loss import DecodeLoss
from .ewc import ElasticWeightConsolidation
from .gradient_projection import project
from .ilt import FeatureDistillation
from .sdr_part import LatentShaping
from .lwf import KnowledgeDistillation, knowledge_distillation
from .mib import UnbiasedCrossEntropyLoss, UnbiasedDistillation, unbiased_cross_entropy, unbiased_distillation
from .online_em import CompositeLoss
from .path_integral import PathIntegral
from .plop import LocalPOD, fold_new_into_background, local_pod, pooled_strips
from .prototypes import class_means, class_shares, class_sums
from .reduce import mean_over_valid
from .reminder import ClassSimilarityWeightedKD, similarity_weights, weighted_distillation
from .riemannian_walk import RiemannianWalk
from .sats import AttentionTransfer

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = [
    'AttentionTransfer', 'BinaryCrossEntropyLoss', 'BinaryDistillation', 'ClassSimilarityWeightedKD', 'CompositeLoss',
    'DecodeLoss', 'ElasticWeightConsolidation', 'FeatureDistillation', 'KnowledgeDistillation', 'LatentShaping',
    'LocalPOD', 'PathIntegral', 'RiemannianWalk', 'UnbiasedCrossEntropyLoss', 'UnbiasedDistillation',
    'binary_cross_entropy', 'binary_distillation', 'class_means', 'class_shares', 'class_sums',
    'fold_new_into_background', 'knowledge_distillation', 'local_pod', 'mean_over_valid', 'pooled_strips', 'project',
    'similarity_weights', 'unbiased_cross_entropy', 'unbiased_distillation', 'weighted_distillation'
]
