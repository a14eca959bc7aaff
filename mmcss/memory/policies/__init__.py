"""How images are chosen to be remembered.

Every file of this folder is imported, so that a new one registers its policy.
"""
from importlib import import_module
from pkgutil import iter_modules

from .policy import MEMORY_POLICIES, POLICIES, Policy, Pool, StreamPolicy, in_turns, named

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = ['MEMORY_POLICIES', 'POLICIES', 'Policy', 'Pool', 'StreamPolicy', 'in_turns', 'named']
