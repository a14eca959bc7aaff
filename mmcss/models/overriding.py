"""Attributes of modules that are overridden for a while."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Any

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
