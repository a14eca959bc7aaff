"""Growth of a model from one step's classes to the next one's."""
from __future__ import annotations

from typing import Callable, Dict, Mapping, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from .new_rows import NEW_ROWS

StateDict = Mapping[str, Tensor]


def class_dimensions(old: StateDict, new: StateDict, num_old: int, num_seen: int,
                     required: bool = True) -> Dict[str, int]:
    """Which tensors depend on the number of classes, and along which dimension.

    Found by comparing shapes, so that no head needs to be known by name.

    Args:
        old: State dict of a model with ``num_old`` channels.
        new: State dict of the same model with ``num_seen`` channels.
        required: Whether there has to be one.

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
    if unclear or (required and not dimensions):
        raise ValueError(f'the class-dependent tensors of this model can not be found: from {num_old} to {num_seen} '
                         f'classes, {_some(unclear) if unclear else "no tensor changes its shape"}. '
                         'Each has to have exactly one dimension of the number of classes.')
    return dimensions


@torch.no_grad()
def grow(model: nn.Module, old: StateDict, num_old: int, new_rows: str = 'random') -> None:
    """Load the tensors of the step before into a model with more classes.

    Old rows are copied, new rows start as ``new_rows`` says, everything else
    must fit exactly. A model with as many classes as before (domains) is
    loaded as it is. Rows that are no class's (:attr:`reserved_rows`) stay the
    last ones.

    Args:
        model: The new step's model, freshly initialised.
        old: State dict of the step before.
        num_old: Its number of classes.
        new_rows: Name of an initialiser in :data:`NEW_ROWS`.
    """
    initialise = new_row_initialiser(new_rows)
    reserved = getattr(model, 'reserved_rows', 0)
    num_seen = model.num_classes - reserved
    old, dimensions = growing_tensors(model, old, num_old, new_rows)
    grown = {}
    for name, tensor in model.state_dict().items():
        grown[name] = old[name].to(tensor)
        if name in dimensions:
            rows, before = tensor.movedim(dimensions[name], 0).clone(), grown[name].movedim(dimensions[name], 0)
            rows[:num_old] = before[:num_old]
            rows[num_seen:] = before[num_old:]
            initialise(name, rows, slice(num_old, num_seen))
            grown[name] = rows.movedim(0, dimensions[name])
    model.load_state_dict(grown, strict=True)


def growing_tensors(model: nn.Module, old: StateDict, num_old: int,
                    new_rows: str = 'random') -> Tuple[StateDict, Dict[str, int]]:
    """The step before with what modules that grow by themselves inherit, and which of its tensors gain rows.

    Args:
        model: The new step's model.
        old: State dict of the step before.
        num_old: Its number of classes.
        new_rows: See :func:`grow`.

    Returns:
        A state dict with the names of ``model``, and the dimension of the
        classes by tensor name.
    """
    heads = {f'{name}.': module for name, module in model.named_modules() if hasattr(module, 'inherit')}
    for prefix, module in heads.items():
        old = module.inherit(old, prefix, new_rows)
    reserved, state = getattr(model, 'reserved_rows', 0), model.state_dict()
    if model.num_classes == num_old + reserved:
        _check_names(old, state)
        return old, {}
    return old, class_dimensions(old, state, num_old + reserved, model.num_classes, required=not heads)


def new_row_initialiser(name: str) -> Callable[[str, Tensor, slice], None]:
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
