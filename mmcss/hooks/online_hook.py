"""Steps whose images come as a stream, each once."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from mmengine.dist import all_gather_object, all_reduce, barrier, is_main_process
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.random import RandomState

from ..arguments import ABSENT
from ..datasets.policies import USES_FEATURES
from ..datasets.remembering import remembered_candidates
from ..datasets.stream import Look, StreamMemory
from ..losses.stream_watch import StreamWatch
from .class_means import set_class_means
from .data_pass import bare_model, common_seed, step_dataset
from .memory_hook import MemoryHook, looks_of
from .replays import REPLAYS, Replay


@HOOKS.register_module()
class OnlineHook(MemoryHook):
    """Keeps the memory of an online step, and has its images replayed.

    Each batch of new images is trained on once, together with remembered
    ones, and then offered to the memory. All processes keep the same memory.
    Remembered images are loaded by the main process, whatever the number of
    loader processes: which ones depends on the batch before.

    Args:
        path: See :class:`MemoryHook`, as ``size``, ``policy`` and ``export``.
        replay: Config of a :class:`Replay`.
    """

    def __init__(self, path: str, size: int, policy: str, export: bool, replay: Dict[str, Any]) -> None:
        super().__init__(path, size, policy, export)
        self.replay: Replay = REPLAYS.build(replay, 'continual.online')
        self._new: List[int] = []

    def before_train(self, runner: Runner) -> None:
        dataset = step_dataset(runner)
        seed = common_seed(runner)
        looks: Sequence[Look] = ()
        if self.policy in USES_FEATURES:
            looks = self.look(runner, [one.numbers for one in remembered_candidates(dataset)])
        self.memory = StreamMemory(dataset, self.size, self.policy, RandomState([seed, dataset.split.step]), looks)
        self.replay.begin(runner, self.memory, RandomState([seed, dataset.split.step, 1]))
        watches = [part for part in bare_model(runner).method.parts.values() if isinstance(part, StreamWatch)]
        self._watch: StreamWatch = watches[0] if watches else ABSENT

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if not isinstance(data_batch['inputs'], list):
            raise ValueError('train_dataloader.collate_fn: online steps add images to a batch; leave it at '
                             'pseudo_collate.')
        self._new = [sample.sample_idx for sample in data_batch['data_samples']]
        self.replay.before_iteration(data_batch)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[Dict[str, Any]] = None) -> None:
        if self.replay.wants_confidence:
            all_reduce(self._watch.confidence)
            self.replay.after_iteration(self._watch.confidence)
        looks: Sequence[Optional[Look]] = [None] * len(self._new)
        if self.policy in USES_FEATURES:
            batch = self._watch.batch
            looks = looks_of(bare_model(runner), batch.student, batch.raw_target, batch.split)
        for numbers, seen in all_gather_object((self._new, list(looks)[:len(self._new)])):
            self.memory.offer(numbers, seen)

    def after_train_epoch(self, runner: Runner) -> None:
        # Before the checkpoint: a run that is stopped behind it finds the memory.
        memory, dataset = self.memory, step_dataset(runner)
        set_class_means(runner, [one.exemplar for one in memory.chosen()])
        confidence = getattr(self.replay, 'confidence', np.zeros(0)).tolist()
        if is_main_process():
            self.write(dataset, memory.chosen(), memory.images_seen, dict(zip(memory.classes, memory.seen.tolist())),
                       dict(zip(memory.classes, confidence)))
        barrier()

    def after_train(self, runner: Runner) -> None:
        self.replay.end()

    def finish_step(self, runner: Runner) -> None:
        """Nothing: only step 0 is finished elsewhere, and that is not online."""
