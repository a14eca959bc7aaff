"""Continual semantic segmentation for MMSegmentation.

Importing mmcss registers its parts, so that ``custom_imports = dict(imports=['mmcss'])`` is all that a config needs.
Without MMSegmentation only scenarios can be used, which need numpy alone.
"""
from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, List

from . import scenario
from .scenario import ClassIncremental, DomainIncremental, Split
from .stack import check_stack, prepare_stack
from .version import __version__

__all__ = ['ClassIncremental', 'DomainIncremental', 'Method', 'Split', 'StepDataset', 'StepSession', '__version__',
           'datasets', 'engine', 'evaluate', 'evaluation', 'hooks', 'losses', 'memory', 'models', 'official',
           'scenario', 'session']

if TYPE_CHECKING or find_spec('mmengine') is not None:
    check_stack()
    prepare_stack()

    from . import datasets, engine, evaluation, hooks, losses, memory, models, official, session
    from .datasets import StepDataset
    from .evaluation import evaluate
    from .models import Method
    from .session import StepSession
else:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            check_stack()  # says what to install
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def __dir__() -> List[str]:
        return __all__
