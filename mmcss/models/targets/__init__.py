"""How the labels of a step are completed."""
from .ignore_background import IgnoreBackground
from .pseudo_labels import EntropyPseudoLabels, accepted_share

__all__ = ['EntropyPseudoLabels', 'IgnoreBackground', 'accepted_share']
