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
from .checks import Batches
from .distributed import on_main_process, print_once
from .error_causes import hook_keys, message_of
from .isolation import isolated
from .miniature import SHARDED, RandomImages, image_size, miniature, norms_see_others, shortened, without_accelerator
from .pipelines import SKIP_ADVICE, check_pipelines
from .plan import StepPlan
from .settings import read_settings
from .step_config import step_config
from .typed_settings import Settings

# Arguments of a Runner that a rehearsal does not take from the config.
NOT_REHEARSED = ('self', 'cfg', 'launcher', 'env_cfg', 'load_from', 'resume', 'data_preprocessor')
MANY = 1_000_000  # batches of a step whose number is not known
# The training of a step that comes from elsewhere.
STAND_IN_TRAINING = dict(
    optim_wrapper=dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)), param_scheduler=None,
    train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1))
# torch's error for a norm over one value.
LONE = 'more than 1 value per channel'


def rehearse(cfg: Union[Config, Settings], scenario: Scenario, batches: Optional[Mapping[int, Batches]] = None,
             taken: Container[int] = ()) -> List[str]:
    """Train and test steps 0, 1 and the last one on random images, to find errors that would stop a run in the middle.

    The runner, the model at its full width, and all hooks, schedules,
    samplers, evaluators and parts are those of the run; images are small and
    few, each step has one iteration, and files go to a temporary folder. The
    state of the process (random numbers, loggers, settings) is restored; side
    effects of the user's hooks, such as writing elsewhere, are not prevented.

    Args:
        cfg, scenario: Those of the run.
        batches: The batches of an epoch of each step, by its number; a step
            without is taken for a long one.
        taken: The steps that are not trained, whose settings don't matter.

    Returns:
        Notes on what could not be rehearsed here, and on the model's heads.

    Raises:
        ValueError: Names the step and the key of the config.
    """
    settings, batches, short = read_settings(cfg), batches or {}, shortened(scenario)
    world_size, notes = get_world_size(), []
    with isolated(), tempfile.TemporaryDirectory() as folder:
        configs = [step_config(settings, short, step, folder) for step in range(len(short))]
        check_pipelines(configs, Path(folder), configs[0].model.backbone.get('in_channels', 3))
        images = RandomImages(Path(folder), short, settings.cfg.train_dataloader.dataset, image_size(configs[0].model))
        for split, config in zip(short, configs):
            steps = [split.step] if split.step < 2 else range(2, len(scenario))
            if all(step in taken for step in steps):
                config.merge_from_dict(STAND_IN_TRAINING)
            if without_accelerator(config):
                notes.append('this machine has no accelerator: mixed precision was not rehearsed.')
            if (config.optim_wrapper.get('optimizer') or {}).get('type') == SHARDED:
                notes.append(f'{SHARDED} shares work between processes: its optimizer was rehearsed without it.')
            epochs = [batches[step] for step in steps if step in batches]
            lone = any(1 in epoch.sizes for epoch in epochs) and not norms_see_others(config.model, world_size)
            number = min((epoch.number or MANY for epoch in epochs), default=MANY)
            name = f'step {steps[0]}' if len(steps) == 1 else f'steps {steps[0]} to {steps[-1]}'
            notes += _rehearse_step(miniature(config, images, lone), name, number)
    return list(dict.fromkeys(notes))


def rehearse_plans(settings: Settings, scenario: Scenario, plans: Sequence[StepPlan]) -> None:
    """Rehearse a run by the plans of its steps, on the main process, if any is trained and ``run.rehearsal`` is True."""
    taken = [step for step, plan in enumerate(plans) if not plan.trained]
    if len(taken) < len(plans) and settings.run.rehearsal:
        batches = {step: plan.batches for step, plan in enumerate(plans) if plan.batches is not None}
        for note in on_main_process(lambda: rehearse(settings, scenario, batches, taken)):
            print_once(f'note: {note}')


class OneBatch:
    """A data loader that ends after its first batch; ``length`` is the number of batches that it claims to have."""

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
    """A runner that trains one iteration, and leaves the settings of the process alone."""

    batches: int
    keys: Dict[int, str]
    lengths: Optional[Tuple[int, int]] = None

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """As the stock runner; notes the key of the hook's config."""
        before = list(map(id, self._hooks))
        super().register_hook(hook, priority)
        key = self.keys.get(id(hook), 'default_hooks')
        self.keys.update((id(added), key) for added in self._hooks if id(added) not in before)

    def setup_env(self, env_cfg: Dict[str, Any]) -> None:
        """Process groups, threads and start methods are the run's."""
        self._timestamp, self._rank, self._world_size = 'rehearsal', 0, 1

    def _log_env(self, env_cfg: Dict[str, Any]) -> None:
        """Skipped: it is slow."""

    def dump_config(self) -> None:
        """There is nothing to write, and nothing to load."""

    load_or_resume = dump_config

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
        """As the stock runner; the loop has the length of the run's, for which schedules are built."""
        built = super().build_train_loop(loop)
        built.dataloader = OneBatch(built.dataloader, self.batches)
        if built.max_iters == built.max_epochs * len(built.dataloader.loader):
            built._max_iters = built.max_epochs * self.batches
        return built

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """As the stock runner; the training is cut to one iteration at its beginning, and has its whole length after it."""
        super().call_hook(fn_name, **kwargs)
        loop = self._train_loop
        if fn_name in ('before_train_epoch', 'before_train_iter') and self.lengths is None:
            self.lengths = loop._max_epochs, loop._max_iters
            loop.dataloader.length = loop._max_epochs = loop._max_iters = 1
            loop.val_begin = loop.val_interval = 1
        elif fn_name == 'after_train' and self.lengths:
            loop._max_epochs, loop._max_iters = self.lengths

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Writes a file, without the optimizer, only if a hook reads it."""
        if any(getattr(hook, 'save_best', None) or getattr(hook, 'published_keys', None) for hook in self.hooks):
            super().save_checkpoint(*args, **dict(kwargs, save_optimizer=False))
        else:
            inspect.signature(super().save_checkpoint).bind(*args, **kwargs)
            self.call_hook('before_save_checkpoint', checkpoint=dict(meta={}, state_dict=bare_model(self).state_dict()))


def _rehearse_step(config: Config, step: str, number: int) -> List[str]:
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
        hint = (' A batch of the step is a single image; take train_dataloader.drop_last=True, or another '
                'train_dataloader.batch_size.') if LONE in str(error) else ''
        text = message_of(error, runner, config, runner.keys)
        advice = '' if text.startswith('continual.') else f'.{hint}{SKIP_ADVICE}'
        raise ValueError(f'{step}: {text.rstrip(".") if advice else text}{advice}') from error
    finally:
        for handler in runner.logger.handlers if hasattr(runner, 'logger') else ():
            handler.close()
        forget_hand_over()
        runner.__dict__.clear()  # other references to the runner must not keep the model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _arguments(config: Config) -> Dict[str, Any]:
    """The arguments of a runner for a config, as in :meth:`Runner.from_cfg`."""
    names = [name for name in inspect.signature(Runner.__init__).parameters if name in config and name not in NOT_REHEARSED]
    return dict({name: config[name] for name in names}, cfg=config)
