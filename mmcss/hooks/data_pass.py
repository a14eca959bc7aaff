"""Passes over a step's images outside of its training."""
from __future__ import annotations

from typing import Any, Dict, Iterator, Optional, Sequence

from mmengine.dist import get_rank
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ..datasets import StepDataset
from ..memory.dataset import WithMemory
from ..models import ContinualMixin
from ..parts import Needs
from ..session import ImagePass, SeededImages, Training
from ..session.training import unwrapped


def bare_model(runner: Runner) -> ContinualMixin:
    """The model of a runner without its distributed wrapper."""
    return unwrapped(runner.model)


def training_of(runner: Runner) -> Training:
    """The training of a runner's step."""
    return Training(runner.model, runner.optim_wrapper)


def averaged_model(runner: Runner) -> ContinualMixin:
    """The model that a step hands over: its EMA where a hook keeps one, else the model itself."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and hasattr(hook, 'ema_model'):
            return hook.ema_model.module
    return bare_model(runner)


def step_dataset(runner: Runner) -> StepDataset:
    """The training data set of a runner's step, without mmengine's wrapper for ``num_batch_per_epoch``."""
    dataset = runner.train_dataloader.dataset
    return getattr(dataset, '_dataset', dataset)


def memory_dataset(runner: Runner) -> WithMemory:
    """As :func:`step_dataset`, in a step with a memory."""
    dataset = step_dataset(runner)
    if not isinstance(dataset, WithMemory):
        raise TypeError(f'train_dataloader.dataset: got {type(dataset).__name__}, but a step with a memory needs WithMemory.')
    return dataset


def common_seed(runner: Runner) -> int:
    """The seed of a runner, the same in all processes."""
    differs = bool(runner.cfg.get('randomness', {}).get('diff_rank_seed', False))
    return ((runner.seed or 0) - get_rank() * differs) % 2**32


class Pass(ImagePass):
    """An :class:`ImagePass` over images of a runner's step, each once a pass.

    In a distributed run each process gets its share. Augmentations are seeded by image and pass, so that they don't depend
    on the number of processes.

    Args:
        runner: The step's runner.
        needs: What to collect besides the logits.
        student: Whether batches hold the student's prediction (of the averaged weights, if there are), or the teacher's.
        images: Numbers of the images in ``dataset``; default: each image of the step once.
        dataset: Default: the training data set.
    """

    def __init__(self, runner: Runner, needs: Needs, student: bool, images: Optional[Sequence[int]] = None,
                 dataset: Optional[Dataset[Any]] = None) -> None:
        model = averaged_model(runner) if student else bare_model(runner)
        super().__init__(model, needs, student, self._batches, lambda: training_of(runner).precision())
        self.runner = runner
        step_images = step_dataset(runner)
        self.dataset = step_images.viewed(needs.view) if dataset is None else dataset
        self.images = step_images.each_once() if images is None else images

    def _batches(self, number: int) -> Iterator[Dict[str, Any]]:
        """Batches as of the training loader, in order, without dropping or repeating images."""
        config = dict(self.runner.cfg.train_dataloader)
        for key in ('batch_sampler', 'num_batch_per_epoch'):
            config.pop(key, None)
        config.update(
            dataset=SeededImages(self.dataset, self.images, common_seed(self.runner), number),
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            persistent_workers=False,
            drop_last=False)
        for data in self.runner.build_dataloader(config, seed=self.runner.seed):
            yield self.model.data_preprocessor(data, training=True)
