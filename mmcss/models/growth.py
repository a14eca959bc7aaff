"""Growth of a model from one step's classes to the next one's."""
from __future__ import annotations

from typing import Callable, Dict, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from .new_rows import NEW_ROWS

StateDict = Mapping[str, Tensor]


def class_dimensions(old: StateDict, new: StateDict, num_old: int, num_seen: int) -> Dict[str, int]:
    """Which tensors depend on the number of classes, and along which dimension.

    Found by comparing shapes, so that no head needs to be known by name.

    Args:
        old: State dict of a model with ``num_old`` classes.
        new: State dict of the same model with ``num_seen`` classes.

    Returns:
        Dimension of the classes by tensor name.

    Raises:
        ValueError: The two are no models of the same config, or a tensor
            differs in a way that classes do not explain, or none differs.
    """
    _check_names(old, new)
    dimensions: Dict[str, int] = {}
    unclear = []
    for name, tensor in new.items():
        before, after = tuple(old[name].shape), tuple(tensor.shape)
        if before == after:
            continue
        differing = [d for d, (a, b) in enumerate(zip(before, after)) if a != b]
        if len(before) == len(after) and len(differing) == 1 and (
                before[differing[0]], after[differing[0]]) == (num_old, num_seen):
            dimensions[name] = differing[0]
        else:
            unclear.append(f'{name} {before} -> {after}')
    if unclear or not dimensions:
        raise ValueError(f'the class-dependent tensors of this model can not be found: from {num_old} to {num_seen} '
                         f'classes, {_some(unclear) if unclear else "no tensor changes its shape"}. '
                         'Each has to have exactly one dimension of the number of classes.')
    return dimensions


@torch.no_grad()
def grow(model: nn.Module, old: StateDict, num_old: int, new_rows: str = 'random') -> None:
    """Load the tensors of the step before into a model with more classes.

    Old rows are copied, new rows start as ``new_rows`` says, everything else
    must fit exactly. A model with as many classes as before (domains) is
    loaded as it is.

    Args:
        model: The new step's model, freshly initialised.
        old: State dict of the step before.
        num_old: Its number of classes.
        new_rows: Name of an initialiser in :data:`NEW_ROWS`.
    """
    initialise = new_row_initialiser(new_rows)
    state = model.state_dict()
    num_seen = model.num_classes
    if num_seen == num_old:
        _check_names(old, state)
        dimensions = {}
    else:
        dimensions = class_dimensions(old, state, num_old, num_seen)
    grown = {}
    for name, tensor in state.items():
        grown[name] = old[name].to(tensor)
        if name in dimensions:
            rows = tensor.movedim(dimensions[name], 0).clone()
            rows[:num_old] = grown[name].movedim(dimensions[name], 0)
            initialise(name, rows, num_old)
            grown[name] = rows.movedim(0, dimensions[name])
    model.load_state_dict(grown, strict=True)


def new_row_initialiser(name: str) -> Callable[[str, Tensor, int], None]:
    """The initialiser of that name."""
    if name not in NEW_ROWS:
        raise ValueError(f'continual.new_rows: got {name!r}, valid are {", ".join(NEW_ROWS)}.')
    return NEW_ROWS[name]


def _check_names(old: StateDict, new: StateDict) -> None:
    missing, unexpected = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    if missing or unexpected:
        raise ValueError('the hand-over of the step before does not fit this model: it '
                         f'lacks {_some(missing)} and has {_some(unexpected)} besides. Was it trained with another config?')


def _some(names: list, most: int = 6) -> str:
    shown = ', '.join(str(name) for name in names[:most]) or 'nothing'
    return shown + (f' and {len(names) - most} more' if len(names) > most else '')
