"""The sequence of runners, itself a runner."""
from __future__ import annotations

import time
import warnings
from typing import Any, Dict, List, Mapping

from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from ..evaluation import matrix_table, steps_table, summarise
from ..files import write_json
from ..hooks.best_weights_hook import best_checkpoint
from ..hooks.data_pass import bare_model
from ..models import load_hand_over
from ..scenario.partitions import PARTITIONS
from .distributed import check_shared, join_processes, on_main_process, print_once, together
from .first_step import find_first_step, read_first_step, write_first_step
from .folders import full_disk_reported
from .isolation import tear_down
from .plain_checkpoints import plain_checkpoints
from .plan import StepPlan, config_difference, make_plan, plan_table
from .pretty_configs import formatted_once
from .progress import Progress
from .rehearsal import rehearse_plans
from .run_lock import locked
from .settings import build_scenario, read_settings
from .step_config import deploy_config, step_config, training_settings
from .step_state import State


@RUNNERS.register_module()
class ContinualRunner:
    """Trains and evaluates the steps of a scenario, one ordinary Runner each.

    Stock ``tools/train.py`` runs it through ``runner_type='ContinualRunner'``.
    ``cfg.run`` has the settings of the sequence, see :class:`RunSettings`.

    Args:
        cfg: The user's config.

    Raises:
        ValueError: The config, the scenario or the data is wrong; nothing is
            trained then.
    """

    results_file = 'results.json'

    def __init__(self, cfg: Config) -> None:
        init_default_scope('mmseg')
        self.settings = settings = read_settings(cfg)
        join_processes(settings.cfg.get('launcher', 'none'), settings.cfg.get('env_cfg', {}).get('dist_cfg', {}))
        self.work_dir = settings.work_dir
        self.scenario = together(lambda: build_scenario(settings))
        self._check_partition()
        self.steps = parse_steps(settings.run.steps, len(self.scenario))
        self.progress = Progress(settings, self.scenario, self.steps)
        self.protocol = self.progress.protocol
        self.configs = [step_config(settings, self.scenario, step, world_size=get_world_size())
                        for step in range(len(self.scenario))]

    @classmethod
    def from_cfg(cls, cfg: Config) -> ContinualRunner:
        """As :meth:`mmengine.runner.Runner.from_cfg`."""
        return cls(cfg)

    def plan(self) -> List[StepPlan]:
        """What the run would do; opens the data, but trains and writes nothing."""
        states = {step: self.progress.state(step) for step in self.steps}
        untrained = [step for step, state in states.items() if state in (State.START, State.RESUME, State.TAKE)]
        taken = [step for step, state in states.items() if state is State.TAKE]
        return make_plan(self.configs, self.scenario, untrained, taken=taken)

    def train(self) -> Dict[str, Any]:
        """Train and evaluate the steps; returns the results over steps, as written to ``results.json``."""
        plans = together(self.plan)
        print_once('\n'.join([*self._profile_changes(), plan_table(plans, together(self.progress.intents))]))
        rehearse_plans(self.settings, self.scenario, plans)
        check_shared(self.work_dir)  # nothing is written before all processes have checked the plan
        with full_disk_reported(self.work_dir), locked(self.work_dir), plain_checkpoints(), formatted_once():
            on_main_process(self.progress.make_room)
            if self.settings.run.first_step_from and 0 not in self.steps:
                self._run_step(0)
            for step in self.steps:
                self._run_step(step)
            results = self.results()
            self._write_report()
            return results

    def test(self) -> Dict[str, Any]:
        """Evaluate again those of the steps that are trained.

        Returns:
            The results over steps, as written to ``results.json``; empty if
            a trained step has no result under this protocol.

        Raises:
            FileNotFoundError: None of the steps is trained.
        """
        trained = together(self._trained)
        steps = [step for step in self.steps if step in trained]
        together(lambda: make_plan(self.configs, self.scenario, trained=(), roles=['test']))
        check_shared(self.work_dir)
        with full_disk_reported(self.work_dir), plain_checkpoints(), formatted_once():
            for step in steps:
                self._evaluate(step)
        if steps != list(self.steps):
            print_once(f'note: of the steps {self.steps[0]} to {self.steps[-1]} only {steps} are trained.')
        results = [self.progress.result(step) for step in trained]
        untested = [step for step, result in zip(trained, results) if result is None]
        if untested:
            print_once(steps_table(dict(steps=[result for result in results if result])))
            print_once(f'note: the steps {untested} have no result under this protocol; {self.results_file} is left as it is. '
                       'Test all steps to have it written.')
            return {}
        return self.results()

    def describe(self) -> str:
        """The plan as text: steps, images, and the differences between the steps' configs."""
        lines = [*self._profile_changes(), plan_table(plans := self.plan(), self.progress.intents())]
        rehearse_plans(self.settings, self.scenario, plans)
        if refusal := self.progress.refusal():
            lines.append(f'\nnote: the run would be refused: {refusal}')
        for step, config in enumerate(self.configs):
            before = self.configs[step - 1] if step else self.settings.cfg
            lines += [f'\nstep {step}, config against {f"step {step - 1}" if step else "the one given"}:',
                      *(f'  {line}' for line in config_difference(before, config))]
        return '\n'.join(lines)

    def _trained(self) -> List[int]:
        """The trained steps; an error if none of those that the run is about is trained."""
        trained = [step for step in range(len(self.scenario)) if self.progress.trained_id(step) is not None]
        if not set(trained) & set(self.steps):
            raise FileNotFoundError(f'{self.work_dir} has none of the steps {self.steps[0]} to {self.steps[-1]}; it has '
                                    f'{trained or "none"}. Check --work-dir and --step, or train them first.')
        return trained

    def _check_partition(self) -> None:
        partition = getattr(self.scenario, 'partition', 'once')
        caveat = PARTITIONS[partition].caveat
        if caveat and self.settings.profile != 'official':
            raise ValueError(f'scenario.partition: {partition!r} {caveat}; it exists to compare with published numbers, in '
                             "profile='official'. Use 'once'.")
        if caveat:
            warnings.warn(f'the official profile {caveat}.')

    def _profile_changes(self) -> List[str]:
        """The changes that the profile has made to the user's config, a line each."""
        changed = [line for line in config_difference(self.settings.user_cfg, self.settings.cfg)
                   if not line.startswith(('official', 'profile'))]
        return [f'profile {self.settings.profile}:', *(f'  {line}' for line in changed)] if changed else []

    def _run_step(self, step: int) -> None:
        folder = self.progress.folder(step)
        settings, state = training_settings(self.configs[step]), self.progress.agreed_state(step)
        begun = None if state.begins else folder.settings
        for line in config_difference(Config(begun), Config(settings)) if begun else ():
            print_once(f'note: step {step} was begun with another {line}')
        if state is State.FINISHED:
            print_once(f'step {step} is finished; skipped')
            return
        start = time.time()
        if state in (State.EVALUATE, State.FINISH):
            self._evaluate(step, finish=state is State.FINISH)
        elif state is State.TAKE:
            self._take_first_step()
        else:
            config = self.configs[step].copy()
            if state is State.RESUME:
                # Both keys: mmengine then resumes from this very file.
                config.update(resume=True, load_from=str(folder.checkpoint(self.progress.parent_id(step))))
            else:
                def begin() -> None:
                    self.progress.begin(step, settings)
                    self._write_results(self._collect())  # of the steps before

                on_main_process(begin)
            self._train(step, config)
            if is_main_process():
                folder.add_seconds(time.time() - start)
        print_once(f'step {step} took {time.time() - start:.0f} s')
        if step != self.steps[-1]:  # train() prints them after the last one
            self.results()

    def _train(self, step: int, config: Config) -> None:
        folder = self.progress.folder(step)
        runner = Runner.from_cfg(config)
        try:
            if is_main_process():
                deploy_config(self.settings, self.scenario, step).dump(str(folder.deploy))
            runner.train()
            best = best_checkpoint(runner)
            if best is not None and self.settings.run.hand_over == 'last':
                print_once(f'note: save_best has stored {best}, but the weights of the last iteration are handed over; '
                           "run.hand_over='best' hands over the best ones")
            # An EMA starts anew in test(), which is to evaluate the weights that are handed over.
            bare_model(runner).load_handed_over(load_hand_over(folder.hand_over)['state_dict'])
            runner.test()
        finally:  # a step that fails must not leave its singletons to a later run in this process
            tear_down(runner)

    def _evaluate(self, step: int, finish: bool = False) -> None:
        """Test a step's hand-over; with ``finish`` it was trained elsewhere, and hooks finish it first."""
        folder = self.progress.folder(step)
        hand_over = load_hand_over(folder.hand_over, self.scenario[step].seen)
        runner = Runner.from_cfg(self._test_config(step))
        try:
            model: Any = bare_model(runner)
            getattr(model, 'module', model).load_handed_over(hand_over['state_dict'])  # a tta_model has the student as module
            for hook in runner.hooks if finish else ():
                if hasattr(hook, 'finish_step'):
                    hook.finish_step(runner)
            runner.test()
        finally:
            tear_down(runner)
        if finish and is_main_process():
            folder.finish()
        barrier()  # all processes read the result

    def _test_config(self, step: int) -> Config:
        config = self.configs[step].copy()
        config.load_from = None  # or testing would load it over the hand-over
        return config

    def _take_first_step(self) -> None:
        folder, source = self.progress.folder(0), find_first_step(str(self.settings.run.first_step_from))
        model = MODELS.build(self.configs[0].model)
        hand_over = read_first_step(source, self.settings, self.scenario, model.tensors_to_hand_over())

        def write() -> None:
            self.progress.begin(0)
            deploy_config(self.settings, self.scenario, 0).dump(str(folder.deploy))
            write_first_step(source, hand_over, folder, self.settings)

        on_main_process(write)
        self._evaluate(0, finish=True)

    def results(self) -> Dict[str, Any]:
        """The results over steps so far, written to ``results.json`` and printed; empty if no step has a result."""
        summary = self._collect()
        if summary and is_main_process():
            self._write_results(summary)
            protocol = ', '.join(f'{key} {value}' for key, value in self.protocol.items())
            print_once(f'\nprofile: {self.settings.profile}; protocol: {self.settings.protocol_name} ({protocol})\n'
                       f'{steps_table(summary)}')
            if len(summary['steps']) == len(self.scenario):
                print_once('\n' + matrix_table(summary))
        return summary

    def _collect(self) -> Dict[str, Any]:
        steps = []
        for step in range(len(self.scenario)):
            result = self.progress.result(step)
            if result is None:
                break
            steps.append(result)
        return dict(summarise(steps), scenario=[list(split.entering) for split in self.scenario], profile=self.settings.profile,
                    protocol=self.protocol, protocol_name=self.settings.protocol_name) if steps else {}

    def _write_report(self) -> None:
        """Write the page about the run, on the main process."""
        if not self.settings.run.report or not is_main_process():
            return
        try:
            from ..report import write_report  # here, since Plotly takes half a second to import

            print_once(f'report: {write_report([(None, self.work_dir)], self.work_dir / "report")}')
        except Exception as error:  # any: what is trained is finished
            print_once(f'note: the report could not be written ({type(error).__name__}: {error}); what was trained is whole. '
                       f'Try again with mmcss report {self.work_dir}, or leave it out by run.report=False.')

    def _write_results(self, summary: Mapping[str, Any]) -> None:
        path = self.work_dir / self.results_file
        if summary:
            write_json(path, summary)
        else:
            path.unlink(missing_ok=True)


def parse_steps(text: Any, num_steps: int) -> range:
    """``'3'``, ``'1-4'`` or None (all) as a range of steps."""
    if text is None:
        return range(num_steps)
    first, _, last = str(text).partition('-')
    try:
        steps = range(int(first), int(last or first) + 1)
    except ValueError:
        raise ValueError(f'run.steps (--step): got {text!r}, expected K or A-B, such as 3 or 1-4.') from None
    if not steps or steps[-1] >= num_steps:
        raise ValueError(f'run.steps (--step): got {text!r}, expected some of 0 to {num_steps - 1}, the steps of the '
                         'scenario.')
    return steps
