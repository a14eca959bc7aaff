"""Equations (tensors in, tensor out) and the thin registered losses around them."""
from .decode_loss import DecodeLoss
from .ilt import FeatureDistillation
from .lwf import KnowledgeDistillation, knowledge_distillation
from .lwf_mc import BinaryCrossEntropyLoss, BinaryDistillation, binary_cross_entropy, binary_distillation
from .mib import (UnbiasedCrossEntropyLoss, UnbiasedDistillation, unbiased_cross_entropy, unbiased_distillation,
                  unbiased_log_probabilities)
from .plop import LocalPOD, fold_new_into_background, local_pod, pooled_strips
from .reduce import mean_over_valid

__all__ = [
    'BinaryCrossEntropyLoss', 'BinaryDistillation', 'DecodeLoss', 'FeatureDistillation', 'KnowledgeDistillation',
    'LocalPOD', 'UnbiasedCrossEntropyLoss', 'UnbiasedDistillation', 'binary_cross_entropy', 'binary_distillation',
    'fold_new_into_background', 'knowledge_distillation', 'local_pod', 'mean_over_valid', 'pooled_strips',
    'unbiased_cross_entropy', 'unbiased_distillation', 'unbiased_log_probabilities'
]
