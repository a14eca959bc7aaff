"""How the labels of a step are completed."""
from .pseudo_labels import EntropyPseudoLabels, accepted_share

__all__ = ['EntropyPseudoLabels', 'accepted_share']
