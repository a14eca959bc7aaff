"""Continual semantic segmentation for MMSegmentation.

Importing mmcss registers its parts, so that ``custom_imports = dict(imports=['mmcss'])``
is all that a config needs.
"""
from .stack import check_stack, prepare_stack
from .version import __version__

check_stack()
prepare_stack()

from . import datasets, engine, evaluation, hooks, losses, models, scenario  # noqa: E402

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'hooks', 'losses', 'models', 'scenario']
