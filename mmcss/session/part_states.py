"""States that the parts of a step leave to the next one: in memory, or as ``parts/<part>.npz`` in the step's folder."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Union

import numpy as np
import torch
from torch import Tensor

from ..files import PathLike, is_there, written_whole
from ..parts import Part

State = Dict[str, Tensor]
CLASS = '__class__'  # in the file, beside the tensors


class StoredState(NamedTuple):
    """A part's state; read from a file it has the file's path, and the name of the part's class ('' if not known)."""

    state: State
    file: Optional[Path] = None
    part_class: str = ''


class PartStates:
    """Stores the states of a step's parts, here in memory, and gives those of the step before.

    Args:
        before: The step before: its hand-over file, beside which the files of
            its parts are, or the states of its parts by name; None at step 0.

    Attributes:
        states: The states of this step's parts so far, by name.
        part_classes: Names of the Python classes of these parts, by name.
    """

    def __init__(self, before: Union[PathLike, Mapping[str, State], None] = None) -> None:
        self.before = before
        self.states: Dict[str, State] = {}
        self.part_classes: Dict[str, str] = {}

    def previous(self, name: str) -> StoredState:
        """A part's state from the step before.

        Raises:
            FileNotFoundError: The part has no file there.
            ValueError: The part has no state in memory, or its file is damaged.
        """
        if self.before is None or isinstance(self.before, Mapping):
            if self.before is None or name not in self.before:
                raise ValueError(f"previous: the step before has left nothing of the part '{name}'. Give its StepSession, "
                                 'trained with that part, or its hand-over file.')
            return StoredState(self.before[name])
        path = part_file(self.before, name)
        if not is_there(path):
            raise FileNotFoundError(f"{path} is missing: the step before was trained without the part '{name}'. Run that "
                                    'step with this config, or take step 0 over with --first-step-from.')
        return load_state(path)

    def begun(self, name: str) -> Optional[StoredState]:
        """A part's state at this step in a run that is resumed; None if the part has to start from the images."""
        return None

    def keep(self, name: str, part: Part) -> None:
        """Store a part's state, if it has one."""
        state = part.state_dict()
        if state:
            self.states[name], self.part_classes[name] = state, type(part).__name__


def part_file(hand_over: PathLike, name: str) -> Path:
    """The file of a part's state in the folder of a hand-over file."""
    return Path(hand_over).parent / 'parts' / f'{name}.npz'


def save_state(path: Path, state: State, part_class: str) -> None:
    """Write a state, and the name of the class of its part, as npz, whole or not at all."""
    arrays: Dict[str, Any] = {name: value.cpu().numpy() for name, value in state.items()}
    arrays[CLASS] = np.array(part_class)
    with written_whole(path) as file:
        np.savez(file, **arrays)


def load_state(path: Path) -> StoredState:
    """Read what :func:`save_state` wrote.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != CLASS}
            return StoredState(state, path, str(arrays[CLASS]))
    except Exception as error:  # numpy and zipfile have no common error for these
        raise unfit_state(error, path) from error


def unfit_state(error: Exception, file: Optional[Path], name: str = '') -> ValueError:
    """An error for a state that can't be used, which names its file or, in memory, its part."""
    why = f'was left by another method ({type(error).__name__}: {error}).'
    if file is None:
        return ValueError(f"previous: the state of the part '{name}' {why} Give a step that was trained with the method of "
                          'this one.')
    return ValueError(f'{file} is damaged, or {why} Restore a copy of it, or train its step anew (--overwrite).')
