"""Growth of a model from one step's classes to the next one's."""
from __future__ import annotations

from typing import Dict, NamedTuple, Sequence, Tuple

import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from .part_modules import is_part_tensor, part_tensors, stock_tensors
from .growing import StateDict, growing, inherits, reserved_rows, unfolded
from .heads import SpecialAxes, special_axes
from .new_rows import DEFAULT_NEW_ROWS, NEW_ROWS


class ClassAxes(NamedTuple):
    """Where a model's tensors depend on the number of classes, by name of the tensor.

    Attributes:
        rows: The dimension whose first entries are the classes; other
            entries may follow.
        columns: The dimension whose last entries are the classes: the inputs
            of a layer that also reads class logits.
    """

    rows: Dict[str, int]
    columns: Dict[str, int]


class Widening(NamedTuple):
    """Where the entries of tensors of the step before go in those of a model with more classes.

    Attributes:
        axes: The tensors that gain classes.
        num_old: Number of classes of the step before.
        num_new: Number of classes that they gain.
        reserved: Number of last rows that belong to no class.
    """

    axes: ClassAxes
    num_old: int
    num_new: int
    reserved: int = 0

    def __call__(self, name: str, old: Tensor, fill: float = 0.0) -> Tensor:
        """A tensor ``old``, of the shape that the parameter ``name`` had, with ``fill`` at the places of new classes."""
        if name in self.axes.columns:
            d = self.axes.columns[name]
            old = self._insert(old, d, old.shape[d] - self.reserved, fill)
        if name in self.axes.rows:
            old = self._insert(old, self.axes.rows[name], self.num_old, fill)
        return old

    def _insert(self, old: Tensor, d: int, place: int, fill: float) -> Tensor:
        new = old.new_full((*old.shape[:d], self.num_new, *old.shape[d + 1:]), fill)
        return torch.cat((old.narrow(d, 0, place), new, old.narrow(d, place, old.shape[d] - place)), dim=d)


def class_axes(old: StateDict, new: StateDict, num_old: int, num_seen: int, required: bool = True,
               special: SpecialAxes = SpecialAxes()) -> ClassAxes:
    """Which tensors depend on the number of classes, and along which dimensions.

    Shapes are compared, so that only the heads of ``special`` need to be known
    by name.

    Args:
        old: State dict of a model with ``num_old`` channels.
        new: State dict of the same model with ``num_seen`` channels.
        required: Whether there has to be such a tensor.
        special: Tensors whose dimensions hold more than the classes.

    Raises:
        ValueError: The two differ in more than the number of classes, or no
            tensor differs.
    """
    _check_names(old, new)
    axes, unclear = ClassAxes({}, {}), []
    for name, tensor in new.items():
        before, after = tuple(old[name].shape), tuple(tensor.shape)
        extra = int(name.startswith(special.no_object))
        differing = [d for d, (a, b) in enumerate(zip(before, after)) if a != b]
        rows = [d for d in differing if (before[d] - extra, after[d] - extra) == (num_old, num_seen)]
        columns = [d for d in differing if d not in rows and name.startswith(special.inputs)
                   and after[d] - before[d] == num_seen - num_old]
        if len(before) == len(after) and len(rows) <= 1 and len(columns) <= 1 and sorted(rows + columns) == differing:
            axes.rows.update((name, d) for d in rows)
            axes.columns.update((name, d) for d in columns)
        else:
            unclear.append(f'{name} {before} -> {after}')
    if unclear or (required and not axes.rows):
        raise ValueError(f'the class-dependent tensors of this model can not be identified: from {num_old} to {num_seen} '
                         f'classes, {_some(unclear) if unclear else "no tensor changes its shape"}. '
                         'Each must have exactly one dimension of the number of classes.')
    return axes


@torch.no_grad()
def grow(model: EncoderDecoder, old: StateDict, num_old: int, new_rows: str = DEFAULT_NEW_ROWS) -> None:
    """Load the tensors of the step before into a model with more classes.

    Old rows are copied, new rows start as ``new_rows`` says, all other tensors
    must fit exactly, as all do where no classes are new (domains). Rows of no
    class (:func:`reserved_rows`, a mask head's "no object") remain the last
    ones. A layer that reads class logits gets weights of 0 for those of new
    classes, so that its outputs do not change.

    Args:
        model: The new step's model, freshly initialised.
        old: State dict of the step before.
        num_old: Its number of classes.
        new_rows: Name of an initialiser in :data:`NEW_ROWS`.
    """
    if new_rows not in NEW_ROWS:
        raise ValueError(f'continual.new_rows: got {new_rows!r}, valid are {", ".join(NEW_ROWS)}.')
    num_seen = model.num_classes - reserved_rows(model)
    old, axes = growing_tensors(model, old, num_old, new_rows)
    widen = widening(model, axes, num_old)
    grown = {}
    for name, tensor in model.state_dict().items():
        grown[name] = widen(name, old[name].to(tensor))
        if name in axes.rows:
            new = slice(num_old, num_seen)
            rows = grown[name].movedim(axes.rows[name], 0)
            rows[new] = tensor.movedim(axes.rows[name], 0)[new]
            if not is_part_tensor(name):  # parts initialise theirs
                NEW_ROWS[new_rows](name, rows, new)
    model.load_state_dict(grown, strict=True)


def widening(model: EncoderDecoder, axes: ClassAxes, num_old: int) -> Widening:
    """How a model has grown from ``num_old`` classes; ``axes`` as returned by :func:`growing_tensors`."""
    reserved = reserved_rows(model)
    return Widening(axes, num_old, model.num_classes - reserved - num_old, reserved)


def growing_tensors(model: EncoderDecoder, old: StateDict, num_old: int,
                    new_rows: str = DEFAULT_NEW_ROWS) -> Tuple[StateDict, ClassAxes]:
    """The tensors of the step before under the names of ``model``, with those of growing modules, and their class axes.

    The arguments are those of :func:`grow`.
    """
    reserved, state = reserved_rows(model), model.state_dict()
    # Modules of parts may be new at this step, and those of the step before may be gone.
    old = unfolded(model, old)
    old = {**part_tensors(state), **stock_tensors(old), **{name: old[name] for name in part_tensors(state) if name in old}}
    for prefix, module in growing(model).items():
        old = module.inherit(old, prefix, new_rows)
    if model.num_classes == num_old + reserved:
        _check_names(old, state)
        return old, ClassAxes({}, {})
    return old, class_axes(old, state, num_old + reserved, model.num_classes, not inherits(model), special_axes(model))


def _check_names(old: StateDict, new: StateDict) -> None:
    missing, unexpected = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    if missing or unexpected:
        raise ValueError(f'the hand-over of the step before does not fit this model: it lacks {_some(missing)}, and has '
                         f'{_some(unexpected)} in addition. Was it trained with another config?')


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ', '.join(str(name) for name in names[:most]) or 'nothing'
    return shown + (f' and {len(names) - most} more' if len(names) > most else '')
