"""How far a run is, and what is left to do with each step."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process

from ..files import plain
from ..models import hand_over_meta, load_hand_over
from ..scenario import Scenario
from .first_step import check_first_step, find_first_step
from .folders import StepFolder

# What is done with a step, by its state.
INTENTS = dict(start='train', resume='go on', take='take over', finish='take over', evaluate='test', finished='finished')


class Progress:
    """The folders of a run, and their states.

    Args:
        cfg: The user's config.
        work_dir: Folder of all steps.
        scenario: The scenario.
        steps: The steps that the run is about.
        protocol: How they are tested.
        first_step_from: Work_dir or hand-over file of a trained step 0.
    """

    def __init__(self, cfg: Config, work_dir: Path, scenario: Scenario, steps: Sequence[int],
                 protocol: Mapping[str, Any], first_step_from: Optional[str] = None) -> None:
        self.cfg = cfg
        self.work_dir = work_dir
        self.scenario = scenario
        self.steps = steps
        self.protocol = protocol
        self.first_step_from = first_step_from
        self.resume = bool(cfg.get('resume', False))

    def folder(self, step: int) -> StepFolder:
        """The folder of a step."""
        return StepFolder(self.work_dir, step)

    def about(self, step: int) -> Dict[str, Any]:
        """What a step's folder notes of the run that it belongs to."""
        return dict(self.scenario[step].to_dict(), regime=self.scenario.regime, images=self.scenario.images(step),
                    method=plain(self.cfg.get('continual', {})))

    def trained(self, step: int) -> bool:
        """Whether a step is trained, from the step before as it is now."""
        return self.folder(step).trained_id(self.scenario[step].seen) is not None

    def result(self, step: int) -> Optional[Dict[str, Any]]:
        """See :meth:`StepFolder.current_result`."""
        return self.folder(step).current_result(self.scenario[step].seen, self.protocol)

    def untrained(self) -> List[int]:
        """The steps of this run that are still to be trained, and need their images for it."""
        return [step for step in self.steps if self.state(step) in ('start', 'resume', 'take')]

    def intents(self) -> List[str]:
        """What the run does with each step, as far as can be told before the steps ahead of it are done."""
        return [INTENTS[self.state(step)] if step in self.steps or self._takes(step) else '-'
                for step in range(len(self.scenario))]

    def state(self, step: int) -> str:
        """One of :data:`INTENTS`, as the files are now.

        Raises:
            ValueError: The folder is of another run.
            FileNotFoundError: There is no step 0 to take over.
        """
        folder, split, about, takes = self.folder(step), self.scenario[step], self.about(step), self._takes(step)
        trained = folder.trained_id(split.seen)
        source = find_first_step(self.first_step_from) if takes else None
        # A hand-over from elsewhere may have no id.
        same = not takes or (hand_over_meta(source) or {}).get('id') in (None, trained)
        if self.resume:
            folder.check(about)
            if trained and not same:
                raise ValueError(f'{folder.hand_over} is another step 0 than that of {self.first_step_from}; leave '
                                 '--first-step-from out to go on with it, or --resume to begin anew.')
        if trained and (self.resume or (step not in self.steps and same and not folder.others(about))):
            if folder.unfinished:
                return 'finish'
            return 'finished' if self.result(step) else 'evaluate'
        if takes:
            if not source.is_file():
                raise FileNotFoundError(f'--first-step-from: there is no {source}.')
            return 'take'
        return 'resume' if self.resume and folder.checkpoint() else 'start'

    def decide(self, step: int) -> str:
        """:meth:`state` of a step whose turn has come: the main process looks, the others follow.

        Raises:
            ValueError: See :meth:`state`; or the step before is of other classes.
            FileNotFoundError: See :meth:`state`; or the step before is missing.
        """
        box: List[Any] = [None, None]
        if is_main_process():
            try:
                box[0] = self.state(step)
                if box[0] == 'start' and step > 0:
                    self._check_before(step)
            except (ValueError, FileNotFoundError) as error:
                box[1] = error
        broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def _check_before(self, step: int) -> None:
        """Make sure that a step can be trained on top of the one before."""
        before = self.folder(step - 1)
        load_hand_over(before.hand_over, self.scenario[step].old)
        if before.unfinished:
            raise ValueError(f'{before.hand_over} was taken over, and the run that took it was stopped before it had '
                             f'finished; take it over again: --step {step - 1} --first-step-from ...')
        about = self.about(step - 1)
        if step == 1:  # methods that train step 0 alike may share it
            check_first_step(before.hand_over, self.cfg, self.scenario)
            about.pop('method')
        others = before.others(about)
        if others:
            raise ValueError(f'{before.path} was trained with another scenario or method: {others} of '
                             f'{before.split.name} differ. Train it anew, or give another --work-dir.')

    def _takes(self, step: int) -> bool:
        return step == 0 and self.first_step_from is not None
