"""A rehearsal of a run in miniature, before its first step trains."""
from __future__ import annotations

import gc
import inspect
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, Container, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from ..files import full_disk
from ..hooks.data_pass import bare_model
from ..models import forget_hand_over
from ..models.heads import warnings_of
from ..models.initialisation import CheapInitialisation
from ..scenario import Scenario
from .error_causes import hook_keys, message_of
from .checks import Batches
from .distributed import on_main_process, say
from .miniature import SHARDED, RandomImages, ShortScenario, image_size, miniature, norms_see_others, without_accelerator
from .pipelines import SKIP_ADVICE, check_pipelines
from .plan import StepPlan
from .settings import read_settings
from .step_config import step_config
from .typed_settings import Settings
from .isolation import isolated

OF_THE_PROCESS = ('self', 'cfg', 'launcher', 'env_cfg', 'load_from', 'resume', 'data_preprocessor')
MANY = 1_000_000  # batches of a step whose number is not known
# How a step is played that comes from elsewhere.
OF_STEPS_TAKEN = dict(
    optim_wrapper=dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)), param_scheduler=None,
    train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1))
# What torch says of a norm over one value.
LONE = 'more than 1 value per channel'


def rehearse(cfg: Union[Config, Settings], scenario: Scenario, batches: Optional[Mapping[int, Batches]] = None,
             taken: Container[int] = ()) -> List[str]:
    """Train and test steps 0, 1 and the last one on random images, to find what would stop a run in the middle.

    The runner, the model at its full width, and all hooks, schedules,
    samplers, evaluators and parts are those of the run; images are small and
    few, each step has one iteration, and files go to a temporary folder. In a
    distributed run the main process does it alone. The state of the process
    (random numbers, loggers, settings) is restored; side effects of the
    user's own hooks, such as writing elsewhere, are not prevented.

    Args:
        cfg: The user's config.
        scenario: Its scenario.
        batches: Of an epoch of each step, by its number; without them a step
            is taken for a long one.
        taken: The steps that are not trained, whose settings don't matter.

    Returns:
        Notes on what could not be rehearsed here, and on the model's heads.

    Raises:
        ValueError: Names the step and the key of the config.
    """
    settings, world_size = read_settings(cfg), get_world_size()
    return on_main_process(lambda: _rehearse(settings, scenario, batches or {}, taken, world_size))


def rehearse_plans(settings: Settings, scenario: Scenario, plans: Sequence[StepPlan]) -> None:
    """Rehearse a run that is planned, unless nothing of it is to be trained or ``run.rehearsal`` is False.

    Args:
        settings: The run's.
        scenario: Its scenario.
        plans: Of all steps.

    Raises:
        ValueError: See :func:`rehearse`.
    """
    taken = [step for step, plan in enumerate(plans) if not plan.trained]
    if len(taken) < len(plans) and settings.run.rehearsal:
        batches = {step: plan.batches for step, plan in enumerate(plans) if plan.batches is not None}
        for note in rehearse(settings, scenario, batches, taken):
            say(f'note: {note}')


def _rehearse(settings: Settings, scenario: Scenario, batches: Mapping[int, Batches], taken: Container[int],
              world_size: int) -> List[str]:
    short, notes = ShortScenario.of(scenario), []
    with isolated(), tempfile.TemporaryDirectory() as folder:
        # A short scenario has all of a scenario that configs are made of.
        configs = [step_config(settings, short, step, folder) for step in range(len(short))]  # type: ignore[arg-type]
        check_pipelines(configs, Path(folder), configs[0].model.backbone.get('in_channels', 3))
        images = RandomImages(Path(folder), short, settings.cfg.train_dataloader.dataset, image_size(configs[0].model))
        for split, config in zip(short, configs):
            steps = [split.step] if split.step < 2 else range(2, len(scenario))
            if all(step in taken for step in steps):
                config.merge_from_dict(OF_STEPS_TAKEN)
            if without_accelerator(config):
                notes.append('there is no accelerator here: mixed precision was not rehearsed.')
            if (config.optim_wrapper.get('optimizer') or {}).get('type') == SHARDED:
                notes.append(f'{SHARDED} shares work between processes: its optimizer was rehearsed without it.')
            dealt = [batches[step] for step in steps if step in batches]
            lone = any(1 in epoch.sizes for epoch in dealt) and not norms_see_others(config.model, world_size)
            number = min((epoch.number or MANY for epoch in dealt), default=MANY)
            notes += _play(miniature(config, images, lone), _name(steps), number)
    return list(dict.fromkeys(notes))


def _name(steps: Any) -> str:
    return f'step {steps[0]}' if len(steps) == 1 else f'steps {steps[0]} to {steps[-1]}'


class OneBatch:
    """A data loader that ends after its first batch.

    Args:
        loader: The loader.
        length: How many batches it says that it has.
    """

    def __init__(self, loader: Any, length: int) -> None:
        self.loader = loader
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return islice(self.loader, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class MiniatureRunner(Runner):
    """A runner whose training ends after one iteration, and which leaves the settings of the process alone."""

    batches: int
    keys: Dict[int, str]
    lengths: Optional[Tuple[int, int]] = None

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """As the stock runner; the hook goes by the key of its config."""
        before = list(map(id, self._hooks))
        super().register_hook(hook, priority)
        key = self.keys.get(id(hook), 'default_hooks')
        self.keys.update((id(added), key) for added in self._hooks if id(added) not in before)

    def setup_env(self, env_cfg: Dict[str, Any]) -> None:
        """Process groups, threads and ways to start processes are the run's own."""
        self._timestamp, self._rank, self._world_size = 'rehearsal', 0, 1

    def _log_env(self, env_cfg: Dict[str, Any]) -> None:
        """Not of interest, and slow."""

    def dump_config(self) -> None:
        """As :meth:`_log_env`."""

    def build_model(self, model: Any) -> torch.nn.Module:
        """As the stock runner, in less time."""
        with CheapInitialisation():
            return super().build_model(model)

    def _init_model_weights(self) -> None:
        with CheapInitialisation():
            super()._init_model_weights()
            if self.model.teacher is not None:
                self.model.teacher.build(next(self.model.parameters()).device)

    def build_train_loop(self, loop: Any) -> Any:
        """As the stock runner; schedules are made for the length that the training has."""
        built = super().build_train_loop(loop)
        built.dataloader = OneBatch(built.dataloader, self.batches)
        if built.max_iters == built.max_epochs * len(built.dataloader.loader):
            built._max_iters = built.max_epochs * self.batches
        return built

    def load_or_resume(self) -> None:
        """Nothing to load."""

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """As the stock runner; what comes before the first epoch, or behind the training, sees its whole length."""
        super().call_hook(fn_name, **kwargs)
        loop = self._train_loop
        if fn_name in ('before_train_epoch', 'before_train_iter') and self.lengths is None:
            self.lengths = loop._max_epochs, loop._max_iters
            loop.dataloader.length = loop._max_epochs = loop._max_iters = 1
            loop.val_begin = loop.val_interval = 1
        elif fn_name == 'after_train' and self.lengths:
            loop._max_epochs, loop._max_iters = self.lengths

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Written only where a hook goes on with the file, and without the optimizer."""
        if any(getattr(hook, 'save_best', None) or getattr(hook, 'published_keys', None) for hook in self.hooks):
            super().save_checkpoint(*args, **dict(kwargs, save_optimizer=False))
        else:
            inspect.signature(super().save_checkpoint).bind(*args, **kwargs)
            self.call_hook('before_save_checkpoint', checkpoint=dict(meta={}, state_dict=bare_model(self).state_dict()))


def _play(config: Config, step: str, number: int) -> List[str]:
    """Train and test one step; returns warnings about the heads of a model that grows."""
    runner = MiniatureRunner.__new__(MiniatureRunner)
    runner.batches, runner.keys = number, hook_keys(config)
    try:
        MiniatureRunner.__init__(runner, **_arguments(config))
        runner.train()
        runner.test()
        grown = config.model.continual.previous is not None
        return [f'{head}: {text}.' for head, text in warnings_of(bare_model(runner)).items()] if grown else []
    except Exception as error:  # any: whatever raises here would raise in the run
        full = full_disk(error, Path(tempfile.gettempdir(), 'rehearsal'))
        if full is not None:
            raise full from error
        more = (' A batch of the step is a single image; take train_dataloader.drop_last=True, or another '
                'train_dataloader.batch_size.') if LONE in str(error) else ''
        text = message_of(error, runner, config, runner.keys)
        advice = '' if text.startswith('continual.') else f'.{more}{SKIP_ADVICE}'
        raise ValueError(f'{step}: {text.rstrip(".") if advice else text}{advice}') from error
    finally:
        for handler in runner.logger.handlers if hasattr(runner, 'logger') else ():
            handler.close()
        forget_hand_over()
        runner.__dict__.clear()  # other references to the runner shall not keep the model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _arguments(config: Config) -> Dict[str, Any]:
    """What a runner takes of a config, as :meth:`Runner.from_cfg`; settings of processes are the run's own."""
    keys = [name for name in inspect.signature(Runner.__init__).parameters if name in config and name not in OF_THE_PROCESS]
    return dict({key: config[key] for key in keys}, cfg=config)
