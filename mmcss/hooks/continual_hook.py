"""Calls the parts of a method at their moments in a run."""
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from mmengine.dist import barrier, broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.hooks import RemovableHandle

from ..files import is_there
from ..models import forget_hand_over, load_hand_over
from ..parts import ImagePasses, Part, overrides
from ..session import Moments, PartStates
from ..session.part_states import State, StoredState, load_state, part_file, save_state
from .data_pass import Pass, averaged_model, bare_model, training_of
from .finite_hook import check_state


@HOOKS.register_module()
class ContinualHook(Hook):
    """Calls a method's :class:`Moments` in a run, and saves the states of its parts.

    A state is written to the step's folder as ``parts/<part>.npz`` as soon as it exists; a resumed run reads it instead of
    passing over the data again, and the next step takes it over. States of parts that act at ``before_update`` are in the
    step's checkpoints as well.
    """

    # Before all other hooks: parts may need a pass to be ready.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._resumed: Dict[str, State] = {}
        self._handles: List[RemovableHandle] = []

    def before_train(self, runner: Runner) -> None:
        model, moments = bare_model(runner), self._moments(runner)
        parts = model.method.parts.values()
        if any(overrides(part, 'before_update') for part in parts):
            self._handles = [training_of(runner).before_updates(moments.before_update)]
        attaches = any(overrides(part, 'attach') for part in parts)
        moments.begin(load_hand_over(model.previous)['state_dict'] if attaches and model.previous is not None else {})
        self._resumed = {}
        if model.teacher is not None:
            model.teacher.build(next(model.parameters()).device)
        forget_hand_over()  # model, parts and teacher have read it

    def before_save_checkpoint(self, runner: Runner, checkpoint: Dict[str, Any]) -> None:
        checkpoint['continual'] = {name: part.state_dict() for name, part in bare_model(runner).method.parts.items()
                                   if overrides(part, 'before_update')}

    def after_load_checkpoint(self, runner: Runner, checkpoint: Dict[str, Any]) -> None:
        if runner._resume:
            self._resumed = checkpoint.get('continual', {})

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()
        # Without SyncBN the statistics of processes differ; from here on all use those that are saved.
        for model in (bare_model(runner), averaged_model(runner)):
            for buffer in model.buffers():
                broadcast(buffer)
        self._moments(runner).finish()

    def finish_step(self, runner: Runner) -> None:
        """Call ``after_step`` for a model from another run, but for parts whose state comes from there."""
        self._moments(runner).finish({name: part for name, part in bare_model(runner).method.observers.items()
                                      if not part.watches_first_step})

    def _moments(self, runner: Runner) -> Moments:
        return Moments(bare_model(runner), partial(image_passes, runner), StateFiles(runner, self._resumed))


def image_passes(runner: Runner, name: str, part: Part, student: bool) -> ImagePasses:
    """A part's passes over the images of a runner's step."""
    runner.logger.info(f'{name}: {"finishing the step" if student else "passing over the training images with the teacher"}')
    return Pass(runner, part.needs, student)


class StateFiles(PartStates):
    """The states of parts in the folders of a run; ``resumed`` are those of the checkpoint that it resumes, by name."""

    def __init__(self, runner: Runner, resumed: Mapping[str, State]) -> None:
        super().__init__(bare_model(runner).previous)
        self.runner = runner
        self.resumed = resumed

    def begun(self, name: str) -> Optional[StoredState]:
        """From the checkpoint, or else the file."""
        path = self._path(name)
        if not self.runner._resume or not (name in self.resumed or is_there(path)):
            return None
        return StoredState(self.resumed[name], path) if name in self.resumed else load_state(path)

    def keep(self, name: str, part: Part) -> None:
        """Write it on the main process; all processes wait."""
        state = part.state_dict()
        check_state(self.runner, name, state)
        if state and is_main_process():
            save_state(self._path(name), state, type(part).__name__)
        barrier()

    def _path(self, name: str) -> Path:
        return part_file(Path(self.runner.work_dir) / 'hand_over', name)
