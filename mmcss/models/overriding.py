"""Attributes and methods of modules that are overridden for a while."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, List

import torch.nn as nn


def override_attribute(module: nn.Module, name: str, value: Any, stack: ExitStack) -> None:
    """Override an attribute of ``module`` by an instance attribute, until ``stack`` closes."""
    missing = object()
    before = module.__dict__.get(name, missing)
    module.__dict__[name] = value

    def restore() -> None:
        if before is missing:
            del module.__dict__[name]
        else:
            module.__dict__[name] = before

    stack.callback(restore)


def tap(module: nn.Module, keep: Callable[[List[Any], Any], Any], stack: ExitStack) -> None:
    """Call ``keep`` with arguments and output of each call of a module, or of its ``forward``, until ``stack`` closes."""
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        keep([*args, *kwargs.values()], output)
        return output

    override_attribute(module, 'forward', forward, stack)
