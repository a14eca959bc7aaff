"""How far a run is, and what is left to do with each step."""
from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set

from ..models import check_hand_over, load_hand_over
from ..scenario import Scenario
from .distributed import on_main_process, say
from .first_step import check_first_step, find_first_step
from .folders import StepFolder
from .stock_checkpoint import load_first_step
from .typed_settings import Settings

# What is done with a step, by its state.
INTENTS = dict(start='train', resume='go on', take='take over', finish='take over', evaluate='test', finished='finished')


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
        if self.folder(step).trained:
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
            for step in mine:
                if self.folder(step).path.exists() and self.state(step) in ('start', 'take'):
                    self._move_aside(self.folder(step))
            beyond = len(self.scenario)
            while len(self.steps) == len(self.scenario) and StepFolder(self.work_dir, beyond).path.exists():
                self._move_aside(StepFolder(self.work_dir, beyond))  # of a scenario of more steps
                beyond += 1
        refused = self.refusal()
        if refused:
            raise ValueError(refused)

    def refusal(self) -> Optional[str]:
        """Which finished steps the run would replace without having been asked to, None if it does not."""
        if self.resume or self.overwrite:
            return None
        finished = [step for step in self._mine() if self.folder(step).trained and self.state(step) in ('start', 'take')]
        if not finished:
            return None
        others = any(self.folder(step).others(self.about(step)) for step in finished)
        return (f'{self.work_dir} holds finished steps {"of another scenario or method " if others else ""}that this run would '
                f'train anew: {finished}. --resume goes on with what is left of the same run, --overwrite moves the old steps '
                f'to {self._replaced.parent} first; or give another --work-dir.')

    def _mine(self) -> List[int]:
        """The steps that the run does something with."""
        return [step for step in range(len(self.scenario)) if step in self.steps or self._takes(step)]

    def _move_aside(self, folder: StepFolder) -> None:
        folder.move_aside(self._replaced)
        self._say_once(f'what was in {folder.path} is now in {self._replaced}')

    def _say_once(self, note: str) -> None:
        if note not in self._said:
            self._said.add(note)
            say(f'note: {note}')

    def untrained(self) -> List[int]:
        """The steps of this run that are still to be trained, and need their images for it."""
        return [step for step in self.steps if self.state(step) in ('start', 'resume', 'take')]

    def intents(self) -> List[str]:
        """What the run does with each step, as far as can be told before the steps ahead of it are done."""
        mine = self._mine()
        return [INTENTS[self.state(step)] if step in mine else '-' for step in range(len(self.scenario))]

    def state(self, step: int) -> str:
        """One of :data:`INTENTS`, as the files are now.

        Raises:
            ValueError: The folder is of another run.
            FileNotFoundError: There is no step 0 to take over.
        """
        folder, about, takes = self.folder(step), self.about(step), self._takes(step)
        source = find_first_step(self.first_step_from) if takes else None
        if takes and not source.is_file():
            raise FileNotFoundError(f'--first-step-from: there is no {source}.')
        begun = 'take' if takes else 'start'
        if takes and source.resolve() == folder.hand_over.resolve():
            raise ValueError(f'--first-step-from: {source} is this run itself; leave the option out and start with '
                             '--step 1 or --resume.')
        if self.overwrite and step in self.steps:
            return begun
        trained = self.trained_id(step)
        same = not takes or trained is None or self._source_id(source) == trained
        if self.resume:
            folder.check(about)
            if not same:
                raise ValueError(f'{folder.hand_over} is another step 0 than that of {self.first_step_from}; leave '
                                 '--first-step-from out to go on with it, or take --overwrite in place of --resume.')
        if trained and (self.resume or (step not in self.steps and same and not folder.others(about))):
            if folder.unfinished:
                return 'finish'
            return 'finished' if self._is_tested(step) else 'evaluate'
        goes_on = self.resume and not takes and not folder.trained and folder.checkpoint(self.parent_id(step))
        return 'resume' if goes_on else begun

    def _source_id(self, source: Path) -> str:
        return load_first_step(source, self.scenario[0].seen, self.settings.run.classes)['meta']['id']

    def _is_tested(self, step: int) -> bool:
        try:
            return self.result(step) is not None
        except ValueError as error:  # a test makes it anew
            self._say_once(str(error))
            return False

    def decide(self, step: int) -> str:
        """:meth:`state` of a step whose turn has come: the main process looks, the others follow.

        Raises:
            ValueError: See :meth:`state`; or the step before is of other classes.
            FileNotFoundError: See :meth:`state`; or the step before is missing.
        """
        def look() -> str:
            state = self.state(step)
            if state == 'start' and step > 0:
                self._check_before(step)
            elif state == 'finished':
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
                             f'{before.split.name} differ. Train it anew, or give another --work-dir.')

    def _takes(self, step: int) -> bool:
        return step == 0 and self.first_step_from is not None
