"""How far a run is, by its files, and what is left to do with each step."""
from __future__ import annotations

import time
from dataclasses import asdict
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set

from ..models import check_hand_over, load_hand_over
from ..scenario import Scenario
from .distributed import on_main_process, say
from .first_step import check_first_step, find_first_step
from .folders import StepFolder
from .step_state import Facts, Fate, Source, State, decide, fate
from .stock_checkpoint import load_first_step
from .typed_settings import Settings


class Progress:
    """The folders of a run, and their states.

    Args:
        settings: The run's.
        scenario: The scenario.
        steps: The steps that the run is about.
    """

    def __init__(self, settings: Settings, scenario: Scenario, steps: Sequence[int]) -> None:
        self.settings = settings
        self.work_dir = settings.work_dir
        self.scenario = scenario
        self.steps = steps
        self.protocol = asdict(settings.protocol)
        self.first_step_from = settings.run.first_step_from
        self.resume = bool(settings.cfg.get('resume'))
        self.overwrite = settings.run.overwrite
        if self.resume and self.overwrite:
            raise ValueError('--resume goes on with the steps that are there, --overwrite begins them anew: give one of them.')
        self._folders = [StepFolder(self.work_dir, step) for step in range(len(scenario))]
        self._said: Set[str] = set()
        self._replaced = self.work_dir / 'replaced' / time.strftime('%Y%m%d_%H%M%S')

    def folder(self, step: int) -> StepFolder:
        """The folder of a step."""
        return self._folders[step]

    def parent_id(self, step: int) -> Optional[str]:
        """Id of the step before as it is now, None at step 0 or where it is missing."""
        return self.folder(step - 1).id if step else None

    def about(self, step: int) -> Dict[str, Any]:
        """What a step's folder notes of the run that it belongs to."""
        return dict(self.scenario[step].to_dict(), regime=self.scenario.regime, images=self.scenario.images(step),
                    method=self.settings.stated_method)

    def trained_id(self, step: int) -> Optional[str]:
        """Id of a step that is trained, from the step before as it is now; None for others.

        Raises:
            ValueError: A hand-over is there and is not sound.
        """
        return self.folder(step).trained_id(self.scenario[step].seen, self.parent_id(step))

    def trained(self, step: int) -> bool:
        """Whether a step is trained, from the step before as it is now."""
        return self.trained_id(step) is not None

    def result(self, step: int) -> Optional[Dict[str, Any]]:
        """See :meth:`StepFolder.current_result`."""
        return self.folder(step).current_result(self.trained_id(step), self.protocol)

    def begin(self, step: int, settings: Optional[Mapping[str, Any]] = None) -> None:
        """Note that a step is going to be trained or taken over. A finished one that is stale is moved aside.

        Args:
            step: Number of the step.
            settings: See :meth:`StepFolder.begin`.
        """
        if self._fate(step) is Fate.MOVED:
            self._say_once(f'step {step} was trained on top of another step {step - 1} than the one that is there now')
            self._move_aside(self.folder(step))
        self.folder(step).begin(self.about(step), settings, self.parent_id(step))

    def make_room(self) -> None:
        """Move aside what the run has been asked to replace, and nothing else that is finished.

        Raises:
            ValueError: It would replace finished steps without having been
                asked to, or what it goes on from is not sound.
            FileNotFoundError: The step before is missing.
        """
        mine = self._mine()
        if mine[0] > 0:
            self._check_before(mine[0])
        if self.overwrite:
            replaced = [self.folder(step) for step in mine if self._fate(step) is Fate.MOVED]
            for folder in [*replaced, *self._beyond()]:
                self._move_aside(folder)
        refused = self.refusal()
        if refused:
            raise ValueError(refused)

    def refusal(self) -> Optional[str]:
        """Which finished steps the run would replace without having been asked to, None if it does not."""
        refused = [step for step in self._mine() if self._fate(step) is Fate.REFUSED]
        if not refused:
            return None
        others = any(self.folder(step).others(self.about(step)) for step in refused)
        return (f'{self.work_dir} holds finished steps {"of another scenario or method " if others else ""}that this run would '
                f'train anew: {refused}. --resume goes on with what is left of the same run, --overwrite moves the old steps '
                f'to {self._replaced.parent} first; or give another --work-dir.')

    def _beyond(self) -> Iterator[StepFolder]:
        """The folders of a scenario of more steps, if the run is about all of its own."""
        folders = (StepFolder(self.work_dir, step) for step in count(len(self.scenario)))
        whole = len(self.steps) == len(self.scenario)
        return takewhile(lambda folder: whole and folder.path.exists(), folders)

    def _mine(self) -> List[int]:
        """The steps that the run does something with."""
        return [step for step in range(len(self.scenario)) if step in self.steps or self._source(step)]

    def _move_aside(self, folder: StepFolder) -> None:
        folder.move_aside(self._replaced)
        self._say_once(f'what was in {folder.path} is now in {self._replaced}')

    def _say_once(self, note: str) -> None:
        if note not in self._said:
            self._said.add(note)
            say(f'note: {note}')

    def untrained(self) -> List[int]:
        """The steps of this run that are still to be trained, and need their images for it."""
        return [step for step in self.steps if self.state(step) in (State.START, State.RESUME, State.TAKE)]

    def intents(self) -> List[str]:
        """What the run does with each step, as far as can be told before the steps ahead of it are done."""
        mine = self._mine()
        return [self.state(step).intent if step in mine else '-' for step in range(len(self.scenario))]

    def state(self, step: int) -> State:
        """Where a step stands, as the files are now.

        Raises:
            ValueError, FileNotFoundError: See :func:`step_state.decide`.
        """
        return decide(self._facts(step))

    def _fate(self, step: int) -> Fate:
        return fate(self._facts(step))

    def _facts(self, step: int) -> Facts:
        folder = self.folder(step)
        return Facts(
            resume=self.resume,
            overwrite=self.overwrite,
            asked=step in self.steps,
            hand_over=folder.hand_over,
            source=self._source(step),
            has_files=folder.path.exists,
            handed_over=lambda: folder.trained,
            trained=lambda: self.trained(step),
            others=lambda: folder.others(self.about(step)),
            unfinished=lambda: folder.unfinished,
            tested=lambda: self._is_tested(step),
            checkpoint=lambda: folder.checkpoint(self.parent_id(step)) is not None)

    def _source(self, step: int) -> Optional[Source]:
        """What a step is copied from, if it is."""
        if step > 0 or self.first_step_from is None:
            return None
        path, own = find_first_step(self.first_step_from), self.folder(step)
        return Source(path, path.is_file(), path.resolve() == own.hand_over.resolve(),
                      same=lambda: own.known(path, self._source_id) == own.id)

    def _source_id(self, source: Path) -> str:
        return load_first_step(source, self.scenario[0].seen, self.settings.run.classes)['meta']['id']

    def _is_tested(self, step: int) -> bool:
        try:
            return self.result(step) is not None
        except ValueError as error:  # a test makes it anew
            self._say_once(str(error))
            return False

    def agreed_state(self, step: int) -> State:
        """:meth:`state` of a step whose turn has come: the main process looks, the others follow.

        Raises:
            ValueError: See :meth:`state`; or the step before is of other classes.
            FileNotFoundError: See :meth:`state`; or the step before is missing.
        """
        def look() -> State:
            state = self.state(step)
            if state is State.START and step > 0:
                self._check_before(step)
            elif state is State.FINISHED:
                check_hand_over(self.folder(step).hand_over)
            return state

        return on_main_process(look)

    def _check_before(self, step: int) -> None:
        """Make sure that a step can be trained on top of the one before."""
        before = self.folder(step - 1)
        load_hand_over(before.hand_over, self.scenario[step].old)
        if before.unfinished:
            raise ValueError(f'{before.hand_over} was taken over, and the run that took it was stopped before it had '
                             f'finished; take it over again: --resume --step {step - 1} --first-step-from ...')
        about = self.about(step - 1)
        if step == 1:  # methods that train step 0 alike may share it
            check_first_step(before.hand_over, load_hand_over(before.hand_over)['meta'], self.settings, self.scenario)
            about.pop('method')
        others = before.others(about)
        if others:
            raise ValueError(f'{before.path} was trained with another scenario or method: {others} of '
                             f'{before.record.name} differ. Train it anew, or give another --work-dir.')
