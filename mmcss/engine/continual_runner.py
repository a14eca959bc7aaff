"""The sequence of runners, itself a runner."""
from __future__ import annotations

import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, get_world_size, is_main_process
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from ..evaluation import matrix_table, steps_table, summarise
from ..files import plain, write_json
from ..hooks.data_pass import bare_model
from ..models import hand_over_meta, load_hand_over
from .distributed import join_processes, say
from .first_step import find_first_step, take_first_step
from .folders import StepFolder
from .plain_checkpoints import plain_checkpoints
from .plan import StepPlan, config_difference, make_plan, plan_table
from .pretty_configs import formatted_once
from .settings import build_scenario, check_settings, protocol, protocol_name, with_profile
from .step_config import deploy_config, step_config
from .teardown import tear_down


@RUNNERS.register_module()
class ContinualRunner:
    """Trains and evaluates the steps of a scenario, one ordinary Runner each.

    Stock ``tools/train.py`` runs it through ``runner_type='ContinualRunner'``.
    ``cfg.run`` holds what concerns the sequence: ``steps`` ('3' or '1-4',
    default all) and ``first_step_from`` (work_dir or hand-over file of a
    trained step 0).

    Args:
        cfg: The user's config.

    Raises:
        ValueError: The config, the scenario or the data is wrong; nothing was
            trained then.
    """

    def __init__(self, cfg: Config) -> None:
        init_default_scope('mmseg')
        self.profile: str = cfg.get('profile', 'paper')
        self.given, cfg = cfg, with_profile(cfg)
        check_settings(cfg)
        join_processes(cfg.get('launcher', 'none'), cfg.get('env_cfg', {}).get('dist_cfg', {}))
        self.cfg = cfg
        self.work_dir = Path(cfg.get('work_dir') or Path('work_dirs') / Path(cfg.filename or 'run').stem)
        self.scenario = build_scenario(cfg)
        self._check_partition()
        options = cfg.get('run', {})
        self.steps = parse_steps(options.get('steps'), len(self.scenario))
        self.first_step_from: Optional[str] = options.get('first_step_from')
        self.resume = bool(cfg.get('resume', False))
        self.protocol = asdict(protocol(cfg))
        self.protocol_name = protocol_name(cfg)
        self.configs = [step_config(cfg, self.scenario, step, str(self.work_dir), get_world_size())
                        for step in range(len(self.scenario))]

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'ContinualRunner':
        """As :meth:`mmengine.runner.Runner.from_cfg`."""
        return cls(cfg)

    def plan(self) -> List[StepPlan]:
        """What the run would do; opens the data, trains and writes nothing."""
        return make_plan(self.configs, self.scenario, [step for step in self.steps if not self._is_trained(step)])

    def _is_trained(self, step: int) -> bool:
        return self.resume and self._folder(step).trained_id(self.scenario[step].seen) is not None

    def train(self) -> Dict[str, Any]:
        """Train and evaluate the steps.

        Returns:
            The results over steps, as written to ``results.json``.
        """
        plans = self.plan()
        say('\n'.join([*self._told_profile(), plan_table(plans)]))
        with plain_checkpoints(), formatted_once():
            if self.first_step_from and 0 not in self.steps:
                self._run_step(0)
            for step in self.steps:
                self._run_step(step)
        return self.results()

    def test(self) -> Dict[str, Any]:
        """Evaluate the hand-overs of the steps again."""
        make_plan(self.configs, self.scenario, trained=(), roles=['test'])
        with plain_checkpoints(), formatted_once():
            for step in self.steps:
                self._evaluate(step)
        return self.results()

    def describe(self) -> str:
        """The plan as text: steps, images, and how the steps' configs differ."""
        lines = [*self._told_profile(), plan_table(self.plan())]
        for step, config in enumerate(self.configs):
            before = self.configs[step - 1] if step else self.cfg
            lines.append(f'\nstep {step}, config against {f"step {step - 1}" if step else "the one given"}:')
            lines.extend(f'  {line}' for line in config_difference(before, config))
        return '\n'.join(lines)

    def _check_partition(self) -> None:
        if getattr(self.scenario, 'partition', 'once') == 'once':
            return
        if self.profile != 'official':
            raise ValueError(f'scenario.partition: {self.scenario.partition!r} tests on images that were trained on; it '
                             "is there to compare with published numbers, by profile='official'. Take 'once'.")
        warnings.warn("the official profile draws test images anew at each step, as PLOP's released code does: most of "
                      "them were trained on. Don't compare its numbers with those of a clean split.")

    def _told_profile(self) -> List[str]:
        """What the profile changed of the config given."""
        changed = [line for line in config_difference(self.given, self.cfg) if not line.startswith(('official', 'profile'))]
        return [f'profile {self.profile}:', *(f'  {line}' for line in changed)] if changed else []

    def _run_step(self, step: int) -> None:
        folder = self._folder(step)
        state = self._decide(folder)
        if state == 'finished':
            say(f'step {step} is finished; skipped')
            return
        start = time.time()
        if state in ('evaluate', 'finish'):
            self._evaluate(step, finish=state == 'finish')
        elif state == 'take':
            self._take_first_step()
        else:
            config = self.configs[step].copy()
            if state == 'resume':
                # Both keys: mmengine then resumes from this very file.
                config.merge_from_dict(dict(resume=True, load_from=str(folder.checkpoint())))
            elif is_main_process():
                folder.begin(self._about(step))
            barrier()
            self._train(step, config)
        say(f'step {step} took {time.time() - start:.0f} s')
        if step != self.steps[-1]:  # train() tells those of the last one
            self.results()

    def _folder(self, step: int) -> StepFolder:
        return StepFolder(self.work_dir, step)

    def _about(self, step: int) -> Dict[str, Any]:
        """What a step's folder notes of the run that it belongs to."""
        return dict(self.scenario[step].to_dict(), regime=self.scenario.regime, images=self.scenario.images(step),
                    method=plain(self.cfg.get('continual', {})))

    def _decide(self, folder: StepFolder) -> str:
        """'finished', 'finish', 'evaluate', 'take', 'resume' or 'start': the main process looks, the others follow."""
        box: List[Any] = [None, None]
        if is_main_process():
            try:
                box[0] = self._look(folder)
            except (ValueError, FileNotFoundError) as error:
                box[1] = error
        broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def _look(self, folder: StepFolder) -> str:
        split, about = self.scenario[folder.step], self._about(folder.step)
        trained = folder.trained_id(split.seen)
        takes = folder.step == 0 and self.first_step_from is not None
        # A hand-over from elsewhere may have no id.
        same = not takes or (hand_over_meta(find_first_step(self.first_step_from)) or {}).get('id') in (None, trained)
        if self.resume:
            folder.check(about)
            if trained and not same:
                raise ValueError(f'{folder.hand_over} is another step 0 than that of {self.first_step_from}; leave '
                                 '--first-step-from out to go on with it, or --resume to begin anew.')
        if trained and (self.resume or (folder.step not in self.steps and same and not folder.others(about))):
            if folder.unfinished:
                return 'finish'
            return 'finished' if folder.current_result(split.seen, self.protocol) else 'evaluate'
        if self.resume and folder.checkpoint() and not takes:
            return 'resume'
        if takes:
            return 'take'
        if folder.step > 0:
            load_hand_over(self._folder(folder.step - 1).hand_over, split.old)
        return 'start'

    def _train(self, step: int, config: Config) -> None:
        folder = self._folder(step)
        runner = Runner.from_cfg(config)
        try:
            if is_main_process():
                deploy_config(self.cfg, self.scenario, step).dump(str(folder.deploy))
            runner.train()
            # An EMA starts anew in test(): what is judged is what was handed over.
            bare_model(runner).load_state_dict(load_hand_over(folder.hand_over)['state_dict'], strict=True)
            runner.test()
        finally:  # a step that fails shall not leave its singletons to a later run in this process
            tear_down(runner)

    def _evaluate(self, step: int, finish: bool = False) -> None:
        """Test a step's hand-over; ``finish`` a step that was trained elsewhere, as far as this method asks for it."""
        folder = self._folder(step)
        hand_over = load_hand_over(folder.hand_over, self.scenario[step].seen)
        runner = Runner.from_cfg(self.configs[step])
        try:
            bare_model(runner).load_state_dict(hand_over['state_dict'], strict=True)
            for hook in runner.hooks if finish else ():
                if hasattr(hook, 'finish_step'):
                    hook.finish_step(runner)
            runner.test()
        finally:
            tear_down(runner)
        if finish and is_main_process():
            folder.finish()

    def _take_first_step(self) -> None:
        folder = self._folder(0)
        take_first_step(find_first_step(self.first_step_from), folder, self.cfg, self.scenario, self._about(0))
        if is_main_process():
            deploy_config(self.cfg, self.scenario, 0).dump(str(folder.deploy))
        barrier()
        self._evaluate(0, finish=True)

    def results(self) -> Dict[str, Any]:
        """Collect the results of the steps so far, write ``results.json`` and print them.

        Returns:
            What :func:`summarise` gives; empty if no step has a result.
        """
        steps = []
        for split in self.scenario:
            result = self._folder(split.step).current_result(split.seen, self.protocol)
            if result is None:
                break
            steps.append(result)
        if not steps:
            return {}
        summary = summarise(steps)
        summary.update(scenario=[list(split.brings) for split in self.scenario], profile=self.profile,
                       protocol=self.protocol, protocol_name=self.protocol_name)
        if is_main_process():
            write_json(self.work_dir / 'results.json', summary)
            told = ', '.join(f'{key} {value}' for key, value in self.protocol.items())
            say(f'\nprofile: {self.profile}; protocol: {self.protocol_name} ({told})\n{steps_table(summary)}')
            if len(steps) == len(self.scenario):
                say('\n' + matrix_table(summary))
        return summary


def parse_steps(text: Any, num_steps: int) -> range:
    """``'3'``, ``'1-4'`` or None (all) as a range of steps."""
    if text is None:
        return range(num_steps)
    first, _, last = str(text).partition('-')
    try:
        steps = range(int(first), int(last or first) + 1)
    except ValueError:
        raise ValueError(f"--step: got {text!r}, expected K or A-B, such as 3 or 1-4.") from None
    if not steps or steps[-1] >= num_steps:
        raise ValueError(f'--step: got {text!r}, but the scenario has steps 0 to {num_steps - 1}.')
    return steps
