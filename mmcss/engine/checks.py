"""Checks before the first step for loaders and loops that would hang or fail in the middle of one."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Iterable, List, Mapping, Optional, Tuple

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import BatchSampler, SequentialSampler

from .config_nodes import class_of
from .distributed import agree


class OnlyCounted(Exception):
    """A sampler needs more of its data set than its length."""


class Numbers:
    """Stands in for a data set of ``number`` images and ``num_memory`` remembered ones, for samplers that only count."""

    def __init__(self, number: int, num_memory: int = 0) -> None:
        self.first_remembered = self._number = number
        self.num_memory = num_memory

    def __len__(self) -> int:
        return self._number

    def full_init(self) -> None:
        """Nothing to do."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # which copying asks for
            raise AttributeError(name)
        raise OnlyCounted(name)

    def __getitem__(self, idx: int) -> Any:
        raise OnlyCounted(idx)


@dataclass(frozen=True)
class Batches:
    """The batches of an epoch on this process.

    Attributes:
        sizes: Number of images of each.
        endless: Key of the sampler that never ends, None if the epoch ends.
    """

    sizes: Tuple[int, ...]
    endless: Optional[str] = None

    @property
    def number(self) -> Optional[int]:
        """The number of batches, None without end."""
        return None if self.endless else len(self.sizes)


def deal(loader: Mapping[str, Any], number: int, num_memory: int = 0) -> Optional[Batches]:
    """The batches that a loader's samplers give, without loading images; None if a sampler needs the images themselves.

    Args:
        loader: Config of the loader.
        number: Number of images.
        num_memory: Number of remembered images behind them.
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
        epoch = _epoch(batches)
        if epoch is None:  # build the sampler anew: the stock endless one can be iterated only once
            endless = 'sampler' if _epoch(_sampler(loader, images)) is None else 'batch_sampler'
            return Batches((batch_size, ), endless)
    except OnlyCounted:
        return None
    return Batches(tuple(len(batch) for batch in epoch))


def _sampler(loader: Mapping[str, Any], images: Numbers) -> Iterable[int]:
    if loader['sampler'] is None:
        return SequentialSampler(images)
    return DATA_SAMPLERS.build(dict(loader['sampler'], seed=0), default_args=dict(dataset=images))


def _epoch(sampler: Iterable[Any]) -> Optional[List[Any]]:
    """All that a sampler gives until it ends; None if it has no length, or goes on far beyond it."""
    try:
        length = len(sampler)  # type: ignore[arg-type]  # the except is for those without
    except TypeError:
        return None
    epoch = list(islice(iter(sampler), 2 * length + 1))
    return epoch if len(epoch) <= 2 * length else None


def check_training(config: Config, step: int, num_images: int) -> Optional[Batches]:
    """Make sure that a step's training begins, learns something and ends.

    Args:
        config: The step's.
        step: Its number.
        num_images: Number of its images, without remembered ones.

    Returns:
        The batches of an epoch, see :func:`deal`.

    Raises:
        ValueError: It does not; names the setting to change.
    """
    by_epoch = _check_loop(config.train_cfg, step)
    loader = config.train_dataloader
    batch_size, processes = loader.get('batch_size', 1), get_world_size()
    memory = next((hook['size'] for hook in config.get('custom_hooks', []) if hook['type'] == 'MemoryHook'), 0)
    # A step of few images repeats them up to min_length.
    number = max(num_images, loader.dataset.get('min_length', 0))
    per_epoch = loader.get('num_batch_per_epoch')
    if per_epoch is not None and not 0 < per_epoch * batch_size * processes <= number:
        raise ValueError(f'step {step}: train_dataloader.num_batch_per_epoch: got {per_epoch}, but the step has '
                         f'{num_images} images: with batch_size={batch_size} in {processes} process(es) at most '
                         f'{number // (batch_size * processes)} batches. Set it in first_step or next_steps, or leave it '
                         'out.')
    batches = deal(loader, number, memory)
    if batches is None:
        return None
    if batches.endless and by_epoch:
        raise ValueError(f'step {step}: train_dataloader.{batches.endless}: {_type_of(loader[batches.endless])} never ends, '
                         f'and so the first epoch of train_cfg ({_type_of(config.train_cfg)}) would not end either. Use '
                         "sampler=dict(type='DefaultSampler', shuffle=True), or train_cfg=dict(type='IterBasedTrainLoop', "
                         'max_iters=...).')
    if not batches.sizes:
        raise ValueError(f'step {step}: train_dataloader gives no batch of {num_images} images with batch_size={batch_size} '
                         f'and drop_last={loader.get("drop_last", False)}: nothing would be learned. Use a smaller '
                         'batch_size, or leave drop_last out.')
    agree(f'step {step}: the numbers of batches', len(batches.sizes),
          "Some would wait for the others forever; use train_dataloader.sampler=dict(type='DefaultSampler', shuffle=True), "
          'which rounds up.')
    return batches


def check_testing(config: Config, num_images: int) -> None:
    """Make sure that tests and validations end, and use each image.

    Raises:
        ValueError: They do not; names the setting to change.
    """
    for role in ('test', 'val'):
        loader = config.get(f'{role}_dataloader')
        if not loader:
            continue
        batches = deal(loader, num_images)
        if batches is not None and batches.endless:
            raise ValueError(f'{role}_dataloader.{batches.endless}: {_type_of(loader[batches.endless])} never ends, and so '
                             "the test would not end either; use sampler=dict(type='DefaultSampler', shuffle=False).")
        if loader.get('drop_last'):
            raise ValueError(f'{role}_dataloader.drop_last: got True, which leaves out images, but all have to be tested. '
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
            raise ValueError(f'step {step}: train_cfg.{key}: got {train_cfg[key]}, expected at least 1, or an untrained '
                             'model would be handed over. To start from a trained step 0 use --first-step-from.')
    return isinstance(loop, type) and issubclass(loop, EpochBasedTrainLoop)
