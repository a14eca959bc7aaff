"""Equations (tensors in, tensor out) and the thin registered losses around them."""
from .mib import (UnbiasedCrossEntropyLoss, UnbiasedDistillation, unbiased_cross_entropy, unbiased_distillation,
                  unbiased_log_probabilities)
from .plop import LocalPOD, fold_new_into_background, local_pod, pooled_strips
from .reduce import mean_over_valid

__all__ = [
    'LocalPOD', 'UnbiasedCrossEntropyLoss', 'UnbiasedDistillation', 'fold_new_into_background', 'local_pod',
    'mean_over_valid', 'pooled_strips', 'unbiased_cross_entropy', 'unbiased_distillation',
    'unbiased_log_probabilities'
]
