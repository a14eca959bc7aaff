"""The one hook that calls the moments of a method's parts."""
from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Tuple

import numpy as np
import torch
from mmengine.dist import barrier, broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ..files import is_there, written_whole
from ..models import forget_hand_over, load_hand_over
from ..parts import Part, overrides
from .before_updates import before_updates
from .data_pass import Pass, averaged_model, bare_model
from .finite_hook import check_state

State = Dict[str, Tensor]


@HOOKS.register_module()
class ContinualHook(Hook):
    """Calls the moments of each part outside of the model, and keeps their state.

    The state is written to the step's folder as ``<part>.npz`` as soon as it
    is there; a resumed run reads it instead of looking at the data again, and
    the next step takes it over. That of parts which follow the training
    (``before_update``) is in the step's checkpoints as well.
    """

    # Before all that act before training: parts may need a pass to be ready.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._resumed: Dict[str, State] = {}
        self._handles: List = []

    def before_train(self, runner: Runner) -> None:
        model = bare_model(runner)
        self._attach(runner, model)
        for name, part in model.method.parts.items():
            path = Path(runner.work_dir) / f'{name}.npz'
            if model.previous is not None and overrides(part, 'load_previous'):
                state, before = previous_state(model.previous, name), Path(model.previous).with_name(f'{name}.npz')
                with sound(before, state, part, lambda: (model.split.num_old, )):
                    part.load_previous(state)
            if runner._resume and (name in self._resumed or is_there(path)):
                state = self._resumed[name] if name in self._resumed else load_state(path)
                # It may have been stopped before or behind the classes of its own step.
                with sound(path, state, part, lambda: (0, model.split.num_old, model.split.num_seen)):
                    part.load_state_dict(state)
                continue
            if overrides(part, 'before_step'):
                runner.logger.info(f'{name}: looking at the training images with the teacher')
                part.before_step(model.split, Pass(runner, part.needs, student=False))
            self._save(runner, path, part)
        self._resumed = {}
        if model.teacher is not None:
            model.teacher.build(next(model.parameters()).device)
        forget_hand_over()  # model, parts and teacher have read it

    def _attach(self, runner: Runner, model: nn.Module) -> None:
        """Give parts the model, and a place in front of each update."""
        attached = [part for part in model.method.parts.values() if overrides(part, 'attach')]
        old = load_hand_over(model.previous)['state_dict'] if attached and model.previous is not None else {}
        for part in attached:
            part.attach(model, old)
        self._handles = [before_updates(runner, part.before_update) for part in model.method.parts.values()
                         if overrides(part, 'before_update')]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['continual'] = {name: part.state_dict() for name, part in bare_model(runner).method.parts.items()
                                   if overrides(part, 'before_update')}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            self._resumed = checkpoint.get('continual', {})

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()
        # Without SyncBN each process has statistics of its own; from here on
        # all look and evaluate with those that are saved.
        for model in (bare_model(runner), averaged_model(runner)):
            for buffer in model.buffers():
                broadcast(buffer)
        self._finish(runner, bare_model(runner).method.observers)

    def finish_step(self, runner: Runner) -> None:
        """Let the parts look at a model that was trained elsewhere; what watched it there has left its state."""
        self._finish(runner, {name: part for name, part in bare_model(runner).method.observers.items()
                              if not part.watches_first_step})

    def _finish(self, runner: Runner, observers: Mapping[str, Part]) -> None:
        model = bare_model(runner)
        for name, part in observers.items():
            runner.logger.info(f'{name}: finishing the step')
            part.after_step(model.split, Pass(runner, part.needs, student=True))
            self._save(runner, Path(runner.work_dir) / f'{name}.npz', part)

    def _save(self, runner: Runner, path: Path, part: Part) -> None:
        state = part.state_dict()
        check_state(runner, path.stem, state)
        if state and is_main_process():
            save_state(path, state)
        barrier()


@contextmanager
def sound(path: Path, state: State, part: Part, numbers: Callable[[], Tuple[int, ...]]) -> Iterator[None]:
    """Within it a part takes a state from a file; one that does not fit is the file's fault.

    Args:
        path: The file.
        state: What it holds.
        part: The part.
        numbers: Gives how many classes the tensors of ``per_class`` may have.

    Raises:
        ValueError: Names the file.
    """
    try:
        for name, dimension in part.per_class.items():
            found = state[name].shape[dimension]
            if found not in numbers():
                raise ValueError(f'{name} is of {found} classes, expected {numbers()[-1]}')
        yield
    except (KeyError, IndexError, TypeError, RuntimeError, ValueError) as error:
        raise damaged_state(path, error) from error


def previous_state(hand_over: str, name: str) -> State:
    """What a part left in the folder of the step before.

    Args:
        hand_over: The hand-over file of that step.
        name: Name of the part.

    Raises:
        FileNotFoundError: Nothing; the step was trained without the part.
    """
    path = Path(hand_over).with_name(f'{name}.npz')
    if not is_there(path):
        raise FileNotFoundError(f"{path} is missing: the step before was trained without the part '{name}'. Run that step "
                                'with this config, or take step 0 over with --first-step-from.')
    return load_state(path)


def save_state(path: Path, state: State) -> None:
    """Write tensors as npz, whole or not at all."""
    with written_whole(path) as file:
        np.savez(file, **{name: value.cpu().numpy() for name, value in state.items()})


def load_state(path: Path) -> State:
    """Read what :func:`save_state` wrote.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except Exception as error:  # numpy and zipfile have no common error for these
        raise damaged_state(path, error) from error


def damaged_state(path: Path, error: Exception) -> ValueError:
    """An error that names the file of a part's state that can't be used."""
    return ValueError(f'{path} is damaged, or was left by another method ({type(error).__name__}: {error}). Bring back a '
                      'copy of it, or train its step anew (--overwrite).')
