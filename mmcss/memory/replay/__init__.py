"""How remembered images take part in the iterations of an online step.

Every file of this folder is imported, so that a new one registers its replay.
"""
from importlib import import_module
from pkgutil import iter_modules

from .replay import REPLAY_REGISTRY, REPLAYS, Batch, Replay, UniformReplay

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = ['Batch', 'REPLAYS', 'REPLAY_REGISTRY', 'Replay', 'UniformReplay']
