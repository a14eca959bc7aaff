"""Passes over a step's images outside of its training."""
from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, Iterable, Iterator, Sequence, Union

import numpy as np
import torch
from torch.utils.data import Dataset

from ..evaluation.step_scores import evaluating
from ..models import ContinualMixin
from ..parts import Needs, StepBatch
from ..random_state import preserved_random_state


class ImagePass:
    """Passes over images of the step, with a model in evaluation mode.

    Each iteration over it is one pass, augmented anew; the mode of the model
    and the random numbers of the process are restored.

    Args:
        needs: What to collect besides the logits.
        student: Whether batches hold the student's prediction, or the teacher's.
        batches: Gives the preprocessed images (``inputs`` and
            ``data_samples``) of a pass, by its number from 0 on.
        precision: Gives the context in which each batch is predicted.
    """

    def __init__(self, model: ContinualMixin, needs: Needs, student: bool,
                 batches: Callable[[int], Iterable[Dict[str, Any]]],
                 precision: Callable[[], ContextManager[Any]] = nullcontext) -> None:
        self.model = model
        self.needs = needs
        self.student = student
        self.batches = batches
        self.precision = precision
        self._passes = 0

    @torch.no_grad()
    def __iter__(self) -> Iterator[StepBatch]:
        number, self._passes = self._passes, self._passes + 1
        with evaluating(self.model), preserved_random_state():
            for data in self.batches(number):
                with self.precision():
                    batch = self.model.predict_batch(data['inputs'], data['data_samples'], self.needs, self.student)
                yield batch


class SeededImages(Dataset[Any]):
    """Images of a data set, by index, augmented with random numbers that depend on image, ``seed`` and pass ``number``."""

    def __init__(self, dataset: Any, images: Union[Sequence[int], np.ndarray], seed: int, number: int = 0) -> None:
        self.dataset = dataset
        self.images = images
        self.seed = seed
        self.number = number

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = int(self.images[index])
        seed = int(np.random.SeedSequence([self.seed, image, self.number]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return self.dataset[image]
