"""Passes over a step's images outside of its training."""
from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any, ContextManager, Dict, Iterator, Optional, Sequence

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner, autocast
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..datasets import StepDataset
from ..models import predict
from ..parts import Needs, StepBatch
from .random_state_hook import kept_random_state


def bare_model(runner: Runner) -> nn.Module:
    """The model of a runner without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def averaged_model(runner: Runner) -> nn.Module:
    """What a step hands over: the EMA of the model where a hook keeps one, else the model."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and hasattr(hook, 'ema_model'):
            return hook.ema_model.module
    return bare_model(runner)


def step_dataset(runner: Runner) -> StepDataset:
    """The training images of a runner's step, all of them also where mmengine shows a part (``num_batch_per_epoch``)."""
    dataset = runner.train_dataloader.dataset
    return getattr(dataset, '_dataset', dataset)


def common_seed(runner: Runner) -> int:
    """The seed of a runner, the same in all processes."""
    each_its_own = runner.cfg.get('randomness', {}).get('diff_rank_seed', False)
    return ((runner.seed or 0) - get_rank() * bool(each_its_own)) % 2**32


def training_precision(runner: Runner) -> ContextManager[None]:
    """A context in which models run in the mixed precision of the training, if it has one."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, AmpOptimWrapper):
        return autocast(dtype=wrapper.cast_dtype)
    return nullcontext()


class Pass:
    """One pass over images of the step, each seen once, with a model in evaluation mode.

    Runs when iterated; random numbers of the process are left as they were.
    In a distributed run each process sees its own share. Augmentations are
    seeded by image, so that they don't depend on the number of processes.

    Args:
        runner: The step's runner.
        needs: What to collect besides the logits.
        student: Whether batches hold the student's prediction (with an EMA of
            the weights the averaged one's), or else the teacher's.
        images: Numbers of the images in the training data set; default: each
            image of the step once.
        dataset: Another data set, all of it, in place of these.
    """

    def __init__(self, runner: Runner, needs: Needs, student: bool, images: Optional[Sequence[int]] = None,
                 dataset: Optional[Dataset] = None) -> None:
        self.runner = runner
        self.needs = needs
        self.student = student
        self.dataset = step_dataset(runner) if dataset is None else dataset
        if images is None:
            images = self.dataset.each_once() if dataset is None else range(len(dataset))
        if needs.true_background:
            self.dataset = self.dataset.with_true_background()
        self.images = images

    @torch.no_grad()
    def __iter__(self) -> Iterator[StepBatch]:
        model = averaged_model(self.runner) if self.student else bare_model(self.runner)
        training = model.training
        model.eval()
        try:
            with kept_random_state():
                for data in self._loader():
                    with training_precision(self.runner):
                        batch = self._look(model, data)
                    yield batch
        finally:
            model.train(training)

    def _look(self, model: nn.Module, data: Dict[str, Any]) -> StepBatch:
        data = model.data_preprocessor(data, training=True)
        if not self.student:
            return model.look(data['inputs'], data['data_samples'], self.needs)
        batch = model.labels_of(data['data_samples'], self.needs.labelled)
        batch.student = predict(model, data['inputs'], tuple(batch.raw_target.shape[1:]), self.needs)
        return batch

    def _loader(self) -> DataLoader:
        """The training loader, in order and without dropping or repeating."""
        config = dict(self.runner.cfg.train_dataloader)
        for key in ('batch_sampler', 'num_batch_per_epoch'):
            config.pop(key, None)
        config.update(
            dataset=SeededImages(self.dataset, self.images, common_seed(self.runner)),
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            persistent_workers=False,
            drop_last=False)
        return self.runner.build_dataloader(config, seed=self.runner.seed)


class SeededImages(Dataset):
    """Images of a data set, augmented in the same way whoever loads them.

    Args:
        dataset: A data set with random transforms.
        images: Numbers of the images in it.
        seed: Of the random numbers.
    """

    def __init__(self, dataset: Dataset, images: Sequence[int], seed: int) -> None:
        self.dataset = dataset
        self.images = images
        self.seed = seed

    @property
    def metainfo(self) -> Dict[str, Any]:
        """The data set's."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = int(self.images[index])
        seed = int(np.random.SeedSequence([self.seed, image]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return self.dataset[image]
