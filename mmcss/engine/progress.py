"""How far a run is, and what is left to do with each step."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mmengine.dist import broadcast_object_list, is_main_process

from ..models import hand_over_meta, load_hand_over
from ..scenario import Scenario
from .first_step import find_first_step
from .folders import StepFolder

# What is done with a step, by its state.
INTENTS = dict(start='train', resume='go on', take='take over', finish='take over', evaluate='test', finished='finished')


class Progress:
    """The folders of a run, and their states.

    Args:
        work_dir: Folder of all steps.
        scenario: The scenario.
        method: ``continual`` of the config, as plain values.
        steps: The steps that the run is about.
        resume: Whether finished steps are kept.
        first_step_from: Work_dir or hand-over file of a trained step 0.
    """

    def __init__(self, work_dir: Path, scenario: Scenario, method: Mapping[str, Any], steps: Sequence[int],
                 resume: bool, first_step_from: Optional[str]) -> None:
        self.work_dir = work_dir
        self.scenario = scenario
        self.method = method
        self.steps = steps
        self.resume = resume
        self.first_step_from = first_step_from

    def folder(self, step: int) -> StepFolder:
        """The folder of a step."""
        return StepFolder(self.work_dir, step)

    def about(self, step: int) -> Dict[str, Any]:
        """What a step's folder notes of the run that it belongs to."""
        return dict(self.scenario[step].to_dict(), regime=self.scenario.regime, images=self.scenario.images(step),
                    method=self.method)

    def trained(self, step: int) -> bool:
        """Whether a step is trained, from the step before as it is now."""
        return self.folder(step).trained_id(self.scenario[step].seen) is not None

    def result(self, step: int, protocol: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """See :meth:`StepFolder.current_result`."""
        return self.folder(step).current_result(self.scenario[step].seen, protocol)

    def untrained(self, protocol: Mapping[str, Any]) -> List[int]:
        """The steps of this run that are still to be trained, and need their images for it."""
        return [step for step in self.steps if self.state(step, protocol) in ('start', 'resume', 'take')]

    def intents(self, protocol: Mapping[str, Any]) -> List[str]:
        """What the run does with each step, as far as can be told before the steps ahead of it are done."""
        return [INTENTS[self.state(step, protocol)] if step in self.steps or self._takes(step) else '-'
                for step in range(len(self.scenario))]

    def state(self, step: int, protocol: Mapping[str, Any]) -> str:
        """One of :data:`INTENTS`.

        Args:
            step: Number of the step.
            protocol: How it is to be tested.

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
            return 'finished' if folder.current_result(split.seen, protocol) else 'evaluate'
        if takes:
            if not source.is_file():
                raise FileNotFoundError(f'--first-step-from: there is no {source}.')
            return 'take'
        return 'resume' if self.resume and folder.checkpoint() else 'start'

    def decide(self, step: int, protocol: Mapping[str, Any]) -> str:
        """:meth:`state` of a step whose turn has come: the main process looks, the others follow.

        Raises:
            ValueError: See :meth:`state`; or the step before is of other classes.
            FileNotFoundError: See :meth:`state`; or the step before is missing.
        """
        box: List[Any] = [None, None]
        if is_main_process():
            try:
                box[0] = self.state(step, protocol)
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
        if step == 1:  # how step 0 was trained is compared where it is taken over
            about.pop('method')
        others = before.others(about)
        if others:
            raise ValueError(f'{before.path} was trained with another scenario or method: {others} of '
                             f'{before.split.name} differ. Train it anew, or give another --work-dir.')

    def _takes(self, step: int) -> bool:
        return step == 0 and self.first_step_from is not None
