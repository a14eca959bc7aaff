"""Slips of released code, each under a separate name, which ``profile='official'`` uses in place of the papers' settings.

Every file of this folder is imported, so that a new one registers its names.
"""
from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
