"""How far a run has come, by its files, and what is left to do for each step."""
from __future__ import annotations

import time
from dataclasses import asdict
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set

from ..models import check_hand_over, load_hand_over
from ..scenario import Scenario
from .distributed import on_main_process, print_once
from .first_step import check_first_step, find_first_step, load_first_step
from .folders import StepFolder
from .step_state import Facts, Fate, Source, State, decide, fate
from .typed_settings import Settings


class Progress:
    """The folders of a run, and their states; ``steps`` are those that the run is about."""

    def __init__(self, settings: Settings, scenario: Scenario, steps: Sequence[int]) -> None:
        self.settings = settings
        self.work_dir = settings.work_dir
        self.scenario = scenario
        self.steps = steps
        self.protocol = asdict(settings.protocol)
        self.resume = bool(settings.cfg.get('resume'))
        self.overwrite = settings.run.overwrite
        if self.resume and self.overwrite:
            raise ValueError('--resume goes on with the steps that are there, --overwrite begins them anew: give only one '
                             'of them.')
        self._folders = [StepFolder(self.work_dir, step) for step in range(len(scenario))]
        self._noted: Set[str] = set()
        self._replaced = self.work_dir / 'replaced' / time.strftime('%Y%m%d_%H%M%S')

    def folder(self, step: int) -> StepFolder:
        """The folder of a step."""
        return self._folders[step]

    def parent_id(self, step: int) -> Optional[str]:
        """Id of the step before as it is now, None at step 0 or if it is missing."""
        return self.folder(step - 1).id if step else None

    def about(self, step: int) -> Dict[str, Any]:
        """What a step's folder records of the run that it belongs to."""
        return dict(self.scenario[step].to_dict(), regime=self.scenario.regime, images=self.scenario.images(step),
                    method=self.settings.stated_method)

    def trained_id(self, step: int) -> Optional[str]:
        """Id of a step that is trained on top of the step before as it is now; None for others.

        Raises:
            ValueError: The hand-over is damaged.
        """
        return self.folder(step).trained_id(self.scenario[step].seen, self.parent_id(step))

    def result(self, step: int) -> Optional[Dict[str, Any]]:
        """See :meth:`StepFolder.current_result`."""
        return self.folder(step).current_result(self.trained_id(step), self.protocol)

    def begin(self, step: int, settings: Optional[Mapping[str, Any]] = None) -> None:
        """Record that a step is about to be trained or taken over (:meth:`StepFolder.begin`); a stale one is moved aside."""
        if self.fate(step) is Fate.MOVED:
            self._note_once(f'step {step} was trained on top of another step {step - 1} than the one that is there now')
            self._move_aside(self.folder(step))
        self.folder(step).begin(self.about(step), settings, self.parent_id(step))

    def make_room(self) -> None:
        """Move aside the folders that ``--overwrite`` replaces.

        Raises:
            ValueError: The run would replace finished steps without
                ``--overwrite``, or the step that it goes on from is damaged.
            FileNotFoundError: The step before is missing.
        """
        affected = self._affected()
        if affected[0] > 0:
            self._check_before(affected[0])
        if self.overwrite:
            replaced = [self.folder(step) for step in affected if self.fate(step) is Fate.MOVED]
            if len(self.steps) == len(self.scenario):  # steps of a longer scenario too
                longer = (StepFolder(self.work_dir, step) for step in count(len(self.scenario)))
                replaced += takewhile(lambda folder: folder.path.exists(), longer)
            for folder in replaced:
                self._move_aside(folder)
        if refusal := self.refusal():
            raise ValueError(refusal)

    def refusal(self) -> Optional[str]:
        """Why the run is refused: it would replace finished steps without ``--overwrite``; None if it would not."""
        refused = [step for step in self._affected() if self.fate(step) is Fate.REFUSED]
        if not refused:
            return None
        whose = 'of another scenario or method ' if any(
            self.folder(step).differences(self.about(step)) for step in refused) else ''
        return (f'{self.work_dir} holds finished steps {whose}that this run would train anew: {refused}. --resume goes on '
                f'with what is left of the same run, --overwrite moves the old steps to {self._replaced.parent} first; or '
                'give another --work-dir.')

    def _affected(self) -> List[int]:
        """The steps that the run does something with."""
        return [step for step in range(len(self.scenario)) if step in self.steps or self._source(step)]

    def _move_aside(self, folder: StepFolder) -> None:
        folder.move_aside(self._replaced)
        self._note_once(f'what was in {folder.path} is now in {self._replaced}')

    def _note_once(self, note: str) -> None:
        if note not in self._noted:
            self._noted.add(note)
            print_once(f'note: {note}')

    def intents(self) -> List[str]:
        """What the run does with each step, by the files as they are now."""
        affected = self._affected()
        return [self.state(step).intent if step in affected else '-' for step in range(len(self.scenario))]

    def state(self, step: int) -> State:
        """Where a step stands, as the files are now.

        Raises:
            ValueError, FileNotFoundError: See :func:`step_state.decide`.
        """
        return decide(self._facts(step))

    def fate(self, step: int) -> Fate:
        """What happens to the files of a step, see :func:`step_state.fate`."""
        return fate(self._facts(step))

    def _facts(self, step: int) -> Facts:
        folder = self.folder(step)
        return Facts(
            resume=self.resume,
            overwrite=self.overwrite,
            selected=step in self.steps,
            hand_over=folder.hand_over,
            source=self._source(step),
            has_files=folder.path.exists,
            handed_over=lambda: folder.handed_over,
            trained=lambda: self.trained_id(step) is not None,
            differences=lambda: folder.differences(self.about(step)),
            unfinished=lambda: folder.unfinished,
            tested=lambda: self._is_tested(step),
            checkpoint=lambda: folder.checkpoint(self.parent_id(step)) is not None)

    def _source(self, step: int) -> Optional[Source]:
        """What a step is copied from, if it is."""
        if step > 0 or self.settings.run.first_step_from is None:
            return None
        path, folder = find_first_step(self.settings.run.first_step_from), self.folder(step)

        def read_id(path: Path) -> str:
            return load_first_step(path, self.scenario[0].seen, self.settings.run.classes)['meta']['id']

        return Source(path, path.is_file(), is_this_run=path.resolve() == folder.hand_over.resolve(),
                      is_copied=lambda: folder.read_cached(path, read_id) == folder.id)

    def _is_tested(self, step: int) -> bool:
        try:
            return self.result(step) is not None
        except ValueError as error:  # a test makes it anew
            self._note_once(str(error))
            return False

    def agreed_state(self, step: int) -> State:
        """:meth:`state` of a step whose turn has come, as the main process finds it, for all processes.

        Raises:
            ValueError: See :meth:`state`; or the step before has other classes.
            FileNotFoundError: See :meth:`state`; or the step before is missing.
        """
        def checked_state() -> State:
            state = self.state(step)
            if state is State.START and step > 0:
                self._check_before(step)
            elif state is State.FINISHED:
                check_hand_over(self.folder(step).hand_over)
            return state

        return on_main_process(checked_state)

    def _check_before(self, step: int) -> None:
        """Make sure that a step can be trained on top of the one before."""
        before, about = self.folder(step - 1), self.about(step - 1)
        meta = load_hand_over(before.hand_over, self.scenario[step].old)['meta']
        if before.unfinished:
            raise ValueError(f'{before.hand_over} was taken over by a run that was stopped before it had finished; take it '
                             f'over again: --resume --step {step - 1} --first-step-from ...')
        if step == 1:  # methods that train step 0 alike may share it
            check_first_step(before.hand_over, meta, self.settings, self.scenario)
            about.pop('method')
        differences = before.differences(about)
        if differences:
            raise ValueError(f'{before.path} was trained with another scenario or method: {differences} of '
                             f'{before.record.name} differ. Train it anew, or give another --work-dir.')
