"""Checks before the first step for settings that would hang or fail in the middle of one."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Iterable, List, Mapping, Optional, Tuple

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import BatchSampler, SequentialSampler

from .distributed import agree
from .config_nodes import class_of


class OnlyCounted(Exception):
    """A sampler asked its data set for more than its length."""


class Numbers:
    """Stands in for a step's images with samplers that only use their number.

    Args:
        number: How many images there are.
        num_memory: How many remembered ones stand behind them.
    """

    def __init__(self, number: int, num_memory: int = 0) -> None:
        self.first_remembered = self._number = number
        self.num_memory = num_memory

    def __len__(self) -> int:
        return self._number

    def full_init(self) -> None:
        """Nothing to do."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # of Python's own, as copying asks for
            raise AttributeError(name)
        raise OnlyCounted(name)

    def __getitem__(self, idx: int) -> Any:
        raise OnlyCounted(idx)


@dataclass(frozen=True)
class Batches:
    """One round of batches as a loader deals them out to this process.

    Attributes:
        sizes: Number of images of each.
        endless: Key of the sampler that begins anew for ever, None if the
            round comes to an end.
    """

    sizes: Tuple[int, ...]
    endless: Optional[str] = None

    @property
    def number(self) -> Optional[int]:
        """How many there are, None without end."""
        return None if self.endless else len(self.sizes)


def deal(loader: Mapping[str, Any], number: int, num_memory: int = 0) -> Optional[Batches]:
    """Have a loader's samplers deal out the numbers of images, without loading any.

    Args:
        loader: Config of the loader.
        number: How many images there are.
        num_memory: How many remembered ones stand behind them.

    Returns:
        The batches; None where a sampler looks at the images themselves.
    """
    batch_size = loader.get('batch_size', 1)
    if loader.get('num_batch_per_epoch') is not None:
        number = loader['num_batch_per_epoch'] * batch_size * get_world_size()
    images = Numbers(number, num_memory)
    try:
        sampler = _sampler(loader, images)
        if loader.get('batch_sampler'):
            batches = DATA_SAMPLERS.build(dict(loader['batch_sampler']),
                                          default_args=dict(sampler=sampler, batch_size=batch_size))
        else:
            batches = BatchSampler(sampler, batch_size, loader.get('drop_last', False))
        dealt = _round(batches)
        if dealt is None:  # the stock endless sampler can be gone through but once
            endless = 'sampler' if _round(_sampler(loader, images)) is None else 'batch_sampler'
            return Batches((batch_size, ), endless)
    except OnlyCounted:
        return None
    return Batches(tuple(len(batch) for batch in dealt))


def _sampler(loader: Mapping[str, Any], images: Numbers) -> Iterable[int]:
    if loader['sampler'] is None:
        return SequentialSampler(images)
    return DATA_SAMPLERS.build(dict(loader['sampler'], seed=0), default_args=dict(dataset=images))


def _round(sampler: Iterable[Any]) -> Optional[List[Any]]:
    """All that a sampler gives until it ends; None if it has no length, or goes on far beyond it."""
    try:
        length = len(sampler)  # type: ignore[arg-type]  # not every one has a length
    except TypeError:
        return None
    dealt = list(islice(iter(sampler), 2 * length + 1))
    return dealt if len(dealt) <= 2 * length else None


def check_training(config: Config, step: int, num_images: int) -> Optional[Batches]:
    """Make sure that a step's training begins, learns something and ends.

    Args:
        config: The step's.
        step: Its number.
        num_images: Of the step, without those that are remembered.

    Returns:
        The batches of an epoch, see :func:`deal`.

    Raises:
        ValueError: It would not; says which setting to change.
    """
    by_epoch = _check_loop(config.train_cfg, step)
    loader = config.train_dataloader
    memory = next((hook['size'] for hook in config.get('custom_hooks', []) if hook['type'] == 'MemoryHook'), 0)
    # A step of few images repeats them.
    number = max(num_images, loader.dataset.get('min_length', 0))
    per_epoch = loader.get('num_batch_per_epoch')
    if per_epoch is not None and not 0 < per_epoch * loader.get('batch_size', 1) * get_world_size() <= number:
        raise ValueError(f'step {step}: train_dataloader.num_batch_per_epoch: got {per_epoch}, but the step has '
                         f'{num_images} images: with batch_size={loader.get("batch_size", 1)} in {get_world_size()} '
                         f'process(es) at most {number // (loader.get("batch_size", 1) * get_world_size())} batches. Set it '
                         'in first_step or next_steps, or leave it out.')
    batches = deal(loader, number, memory)
    if batches is None:
        return None
    if batches.endless and by_epoch:
        raise ValueError(f'step {step}: train_dataloader.{batches.endless}: {_type_of(loader[batches.endless])} never '
                         f'comes to an end, but train_cfg counts epochs ({_type_of(config.train_cfg)}): the first one '
                         "would never end. Take sampler=dict(type='DefaultSampler', shuffle=True), or "
                         "train_cfg=dict(type='IterBasedTrainLoop', max_iters=...).")
    if not batches.sizes:
        raise ValueError(f'step {step}: train_dataloader makes no batch of {num_images} images with batch_size='
                         f'{loader.get("batch_size", 1)} and drop_last={loader.get("drop_last", False)}: nothing would be '
                         'learned. Take a smaller batch_size, or leave drop_last out.')
    agree(f'step {step}: the numbers of batches', len(batches.sizes),
          "Some would wait for the others for ever; take train_dataloader.sampler=dict(type='DefaultSampler', "
          'shuffle=True), which rounds up.')
    return batches


def check_testing(config: Config, num_images: int) -> None:
    """Make sure that tests and validations begin and end, and look at each image.

    Raises:
        ValueError: They would not; says which setting to change.
    """
    for role in ('test', 'val'):
        loader = config.get(f'{role}_dataloader')
        if not loader:
            continue
        batches = deal(loader, num_images)
        if batches is not None and batches.endless:
            raise ValueError(f'{role}_dataloader.{batches.endless}: {_type_of(loader[batches.endless])} never comes to an '
                             "end, nor would the test; take sampler=dict(type='DefaultSampler', shuffle=False).")
        if loader.get('drop_last'):
            raise ValueError(f'{role}_dataloader.drop_last: got True, which leaves out images, but all are to be tested. '
                             'Remove it.')


def _type_of(config: Mapping[str, Any]) -> str:
    kind = config.get('type', 'by_epoch=True')
    return kind if isinstance(kind, str) else kind.__name__


def _check_loop(train_cfg: Mapping[str, Any], step: int) -> bool:
    """Whether a training loop counts epochs; an error if it would not train."""
    kind = train_cfg.get('type')
    if kind is None:  # mmengine's other form
        kind = EpochBasedTrainLoop if train_cfg.get('by_epoch') else IterBasedTrainLoop
    loop = class_of(LOOPS, kind)
    for key in ('max_epochs', 'max_iters'):
        if isinstance(train_cfg.get(key), (int, float)) and train_cfg[key] < 1:
            raise ValueError(f'step {step}: train_cfg.{key}: got {train_cfg[key]}, expected at least 1: an untrained step '
                             'would be handed over. A trained step 0 is taken over by --first-step-from.')
    return isinstance(loop, type) and issubclass(loop, EpochBasedTrainLoop)
