"""Modules that control how they grow from one step to the next."""
from __future__ import annotations

from typing import Dict, Mapping, Optional

import torch.nn as nn
from torch import Tensor

StateDict = Mapping[str, Tensor]


class GrowingModule(nn.Module):
    """A module that grows, or is handed over, in a way of its own.

    For any module of a model: a classifier, a module of a part
    (:meth:`mmcss.parts.Part.modules`), a segmentor. Without overrides it is
    treated like every module: rows of classes are found by their shapes, and
    copied. A classifier whose ``__init__`` takes ``steps`` gets the number of
    foreground classes of each step so far.

    Attributes:
        predicting: Whether the segmentor predicts, which may differ from what
            is trained; set by the segmentor.
        reserved_rows: Of a segmentor: how many rows of its class-dependent
            tensors stay behind those of all classes.
    """

    predicting: bool = False
    reserved_rows: int = 0

    def inherit(self, old: StateDict, prefix: str, new_rows: str) -> StateDict:
        """What this module starts the step from.

        Args:
            old: State dict of the step before, unfolded.
            prefix: Name of this module in it, with a dot.
            new_rows: ``continual.new_rows``.

        Returns:
            ``old``, with all tensors of this module.
        """
        return old

    def group_of(self, name: str) -> Optional[str]:
        """The group of a parameter, by its name here: 'background', 'old', 'new', 'unknown', or None if its rows differ."""
        return None

    def folded(self, state: StateDict, prefix: str) -> StateDict:
        """Fold this module's tensors into those of the stock modules that it stands for.

        Args:
            state: State dict of the whole model.
            prefix: Name of this module in it, with a dot.

        Returns:
            ``state`` with stock tensors in place of its own, which predict
            the same.
        """
        return state

    def unfolded(self, state: StateDict, prefix: str) -> StateDict:
        """Inverse of :meth:`folded`: ``state`` with this module's tensors in place of the stock ones."""
        return state


def growing(model: nn.Module) -> Dict[str, GrowingModule]:
    """The growing modules of a model by their names, each with a dot behind it."""
    return {f'{name}.' if name else '': module for name, module in model.named_modules() if isinstance(module, GrowingModule)}


def reserved_rows(model: nn.Module) -> int:
    """The reserved rows of a segmentor; 0 for stock ones."""
    return model.reserved_rows if isinstance(model, GrowingModule) else 0


def inherits(model: nn.Module) -> bool:
    """Whether a module of a model grows in a way of its own."""
    return any(type(module).inherit is not GrowingModule.inherit for module in growing(model).values())


def folded(model: nn.Module, state: StateDict) -> StateDict:
    """A model's state dict as stock MMSegmentation reads it."""
    for prefix, module in growing(model).items():
        state = module.folded(state, prefix)
    return state


def unfolded(model: nn.Module, state: StateDict) -> StateDict:
    """Inverse of :func:`folded`."""
    for prefix, module in growing(model).items():
        state = module.unfolded(state, prefix)
    return state
