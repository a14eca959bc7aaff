"""The one hook that calls the moments of a method's parts."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner, autocast
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from ..models import predict
from ..parts import Part, StepBatch
from .random_state_hook import kept_random_state


def bare_model(runner: Runner) -> nn.Module:
    """The model of a runner without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class ContinualHook(Hook):
    """Calls ``before_step`` and ``after_step`` of each part and keeps their state.

    The state is written to the step's folder as ``<part>.npz`` as soon as it
    is there; a resumed run reads it instead of looking at the data again.
    """

    # Before all that act before training: parts may need a pass to be ready.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        model = bare_model(runner)
        for name, part in model.method.parts.items():
            path = Path(runner.work_dir) / f'{name}.npz'
            if runner._resume and path.is_file():
                part.load_state_dict(load_state(path))
                continue
            if type(part).before_step is not Part.before_step:
                runner.logger.info(f'{name}: looking at the training images with the teacher')
                part.before_step(model.split, Pass(runner, student=False))
            self._save(path, part)

    def after_train(self, runner: Runner) -> None:
        model = bare_model(runner)
        for name, part in model.method.parts.items():
            if type(part).after_step is not Part.after_step:
                runner.logger.info(f'{name}: looking at the training images with the trained model')
                part.after_step(model.split, Pass(runner, student=True))
                self._save(Path(runner.work_dir) / f'{name}.npz', part)

    def _save(self, path: Path, part: Part) -> None:
        state = part.state_dict()
        if state and is_main_process():
            save_state(path, state)
        barrier()


class Pass:
    """One pass over the step's training images, each seen once.

    Runs when iterated; random numbers of the process are left as they were.

    Args:
        runner: The step's runner.
        student: Whether batches hold the student's prediction.
    """

    def __init__(self, runner: Runner, student: bool) -> None:
        self.runner = runner
        self.student = student

    @torch.no_grad()
    def __iter__(self) -> Iterator[StepBatch]:
        model = bare_model(self.runner)
        training = model.training
        mixed = isinstance(self.runner.optim_wrapper, AmpOptimWrapper)  # as in training
        model.eval()
        try:
            with kept_random_state():
                for data in self._loader():
                    with autocast(enabled=mixed):
                        batch = self._look(data)
                    yield batch
        finally:
            model.train(training)

    def _look(self, data: Dict[str, Any]) -> StepBatch:
        model = bare_model(self.runner)
        data = model.data_preprocessor(data, training=True)
        batch = model.look(data['inputs'], data['data_samples'])
        if self.student:
            size = tuple(batch.raw_target.shape[1:])
            batch.student = predict(model, data['inputs'], size, model.method.needs)
        return batch

    def _loader(self) -> DataLoader:
        """The training loader, in order and without dropping or repeating."""
        dataset = self.runner.train_dataloader.dataset
        config = dict(self.runner.cfg.train_dataloader)
        config.pop('batch_sampler', None)
        config.update(
            dataset=Subset(dataset, range(dataset.num_images)),
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            persistent_workers=False,
            drop_last=False)
        return self.runner.build_dataloader(config, seed=self.runner.seed)


def save_state(path: Path, state: Dict[str, Tensor]) -> None:
    """Write tensors as npz, atomically."""
    partial = path.with_name(path.stem + '.partial.npz')
    np.savez(partial, **{name: value.cpu().numpy() for name, value in state.items()})
    partial.replace(path)


def load_state(path: Path) -> Dict[str, Tensor]:
    """Read what :func:`save_state` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
