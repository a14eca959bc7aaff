"""Slips of released code, each under a name of its own: what ``profile='official'`` takes in place of the papers'.

Every file of this folder is imported, so that a new one registers what it has.
"""
from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
