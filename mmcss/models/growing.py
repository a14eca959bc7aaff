"""Modules that control how they grow from one step to the next."""
from __future__ import annotations

from typing import Dict, Mapping, Optional

import torch.nn as nn
from torch import Tensor

StateDict = Mapping[str, Tensor]


class GrowingModule(nn.Module):
    """A module that controls how it grows or is handed over.

    It may be a classifier, a module of a part
    (:meth:`mmcss.parts.Part.modules`), or a segmentor. Without overrides it is
    treated like any module: rows of classes are identified by their shapes,
    and copied. A classifier whose ``__init__`` takes ``steps`` gets the number
    of foreground classes of each step so far.

    Attributes:
        predicting: Whether the segmentor predicts, which sets it.
        reserved_rows: Of a segmentor: the number of rows that follow those of
            all classes in its class-dependent tensors.
    """

    predicting: bool = False
    reserved_rows: int = 0

    def inherit(self, old: StateDict, prefix: str, new_rows: str) -> StateDict:
        """The tensors that the step starts from.

        Args:
            old: State dict of the step before, unfolded.
            prefix: Name of this module in it, with a dot.
            new_rows: ``continual.new_rows``.

        Returns:
            ``old``, with all tensors of this module.
        """
        return old

    def group_of(self, name: str) -> Optional[str]:
        """The group of all rows of a parameter, by its name here: 'background', 'old', 'new', 'unknown'; or None."""
        return None

    def folded(self, state: StateDict, prefix: str) -> StateDict:
        """Replace this module's tensors by those of stock modules, which predict the same.

        Args:
            state: State dict of the whole model.
            prefix: Name of this module in it, with a dot.
        """
        return state

    def unfolded(self, state: StateDict, prefix: str) -> StateDict:
        """Inverse of :meth:`folded`."""
        return state


def growing(model: nn.Module) -> Dict[str, GrowingModule]:
    """The growing modules of a model by their names, each followed by a dot."""
    return {f'{name}.' if name else '': module for name, module in model.named_modules() if isinstance(module, GrowingModule)}


def reserved_rows(model: nn.Module) -> int:
    """The reserved rows of a segmentor; 0 for stock ones."""
    return model.reserved_rows if isinstance(model, GrowingModule) else 0


def inherits(model: nn.Module) -> bool:
    """Whether any module of a model overrides :meth:`GrowingModule.inherit`."""
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
