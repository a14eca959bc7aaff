"""What the parts of a step leave: in memory, or as ``parts/<part>.npz`` in the step's folder."""
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


class Found(NamedTuple):
    """A state that a part takes over, and the file that it is from, if any, with the class of the part that left it."""

    state: State
    file: Optional[Path] = None
    left_by: str = ''


class PartStates:
    """Where the states of a step's parts come from, and where they are kept: here in memory.

    Args:
        before: What the step before left: its hand-over file, beside which
            the files of its parts are, or their states by name; None at step 0.

    Attributes:
        kept: What the parts of this step have left so far, by name.
        classes: Names of the classes of these parts.
    """

    def __init__(self, before: Union[PathLike, Mapping[str, State], None] = None) -> None:
        self.before = before
        self.kept: Dict[str, State] = {}
        self.classes: Dict[str, str] = {}

    def previous(self, name: str) -> Found:
        """What a part left at the step before.

        Raises:
            FileNotFoundError: Nothing; the step was trained without the part.
            ValueError: Likewise, in memory; or its file is damaged.
        """
        if self.before is None or isinstance(self.before, Mapping):
            if self.before is None or name not in self.before:
                raise ValueError(f"previous: the step before has left nothing of the part '{name}'. Give its StepSession, "
                                 'trained with that part, or its hand-over file.')
            return Found(self.before[name])
        path = part_file(self.before, name)
        if not is_there(path):
            raise FileNotFoundError(f"{path} is missing: the step before was trained without the part '{name}'. Run that step "
                                    'with this config, or take step 0 over with --first-step-from.')
        return read_state(path)

    def begun(self, name: str) -> Optional[Found]:
        """What a part had at this step, in a run that is resumed; None where it has to look anew."""
        return None

    def keep(self, name: str, part: Part) -> None:
        """Keep what a part has gathered."""
        state = part.state_dict()
        if state:
            self.kept[name], self.classes[name] = state, type(part).__name__


def part_file(hand_over: PathLike, name: str) -> Path:
    """The file of a part's state in the folder of a hand-over file."""
    return Path(hand_over).parent / 'parts' / f'{name}.npz'


def save_state(path: Path, state: State, left_by: str) -> None:
    """Write tensors, and the name of the class of the part that leaves them, as npz, whole or not at all."""
    arrays: Dict[str, Any] = {name: value.cpu().numpy() for name, value in state.items()}
    arrays[CLASS] = np.array(left_by)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        np.savez(file, **arrays)


def load_state(path: Path) -> State:
    """The tensors that :func:`save_state` wrote; raises ValueError where the file is damaged."""
    return read_state(path).state


def read_state(path: Path) -> Found:
    """Read what :func:`save_state` wrote.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != CLASS}
            return Found(state, path, str(arrays[CLASS]))
    except Exception as error:  # numpy and zipfile have no common error for these
        raise unfit_state(error, path) from error


def unfit_state(error: Exception, file: Optional[Path], name: str = '') -> ValueError:
    """An error that names the file of a part's state that can't be used, or, in memory, the part."""
    why = f'was left by another method ({type(error).__name__}: {error}).'
    if file is None:
        return ValueError(f"previous: what the step before has left of the part '{name}' {why} Give a step that was trained "
                          'with the method of this one.')
    return ValueError(f'{file} is damaged, or {why} Bring back a copy of it, or train its step anew (--overwrite).')
