"""Parts that complete the labels of a step.

Every file of this folder is imported, so that a new one registers its parts.
"""
from importlib import import_module
from pkgutil import iter_modules

from .ignore_background import IgnoreBackground
from .pseudo_labels import EntropyPseudoLabels, accepted_share
from .sigmoid_pseudo_labels import SigmoidPseudoLabels, sure_old_classes

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = ['EntropyPseudoLabels', 'IgnoreBackground', 'SigmoidPseudoLabels', 'accepted_share', 'sure_old_classes']
