"""Chooses the images that later steps replay."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from mmengine.dist import all_gather_object, all_reduce, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.random import RandomState

from ..memory.buffer import MemoryBuffer
from ..memory.copies import written
from ..memory.evidence import Evidence, LastBatch, evidence_of
from ..memory.policies import POLICIES, Policy, named
from ..memory.replay import REPLAYS, Replay
from ..parts import Needs
from .class_means import set_class_means
from .data_pass import Pass, averaged_model, bare_model, common_seed, memory_dataset, training_of


@HOOKS.register_module()
class MemoryHook(Hook):
    """Offers the images of a step to the memory: all at its end, or those of each batch after it.

    Candidates are the images remembered so far and those of the step. The choice does not depend on the number of processes.

    Args:
        path: ``memory.json`` of the step.
        size: Most images to remember.
        policy: Config of a policy, or its name.
        export: Whether to copy images and labels beside the file, so that the data set may be deleted.
        replay: Config of a :class:`Replay` in online steps: each batch of new images is trained on once, together with
            remembered ones, and then offered. Remembered images are loaded in the main process of the loader, whatever the
            number of its workers, because they depend on the batch before. None in other steps.
    """

    # After the parts' last moment, before the hand-over, which marks a step as finished.
    priority = 'NORMAL'

    def __init__(self, path: str, size: int, policy: Union[str, Mapping[str, Any]], export: bool,
                 replay: Optional[Mapping[str, Any]] = None) -> None:
        self.path = Path(path)
        self.size = size
        self.policy = policy
        self._policy: Policy = POLICIES.build(named(policy), 'continual.memory.policy')
        self.export = export
        self.replay: Optional[Replay] = None if replay is None else REPLAYS.build(replay, 'continual.online')
        self._new: List[int] = []

    def before_train(self, runner: Runner) -> None:
        if self.replay is None:
            return
        self.buffer = buffer = self._buffer(runner)
        if self._policy.uses_features:
            buffer.add_evidence(self._evidence(runner, buffer.stored_numbers))
        buffer.offer([])  # more may be stored than fit
        self._last = LastBatch(self.replay.uses_confidence, self._policy.uses_features)
        bare_model(runner).method.add('<memory>', self._last)  # a name that no part of a config has
        self.replay.begin(training_of(runner), buffer, RandomState([common_seed(runner), buffer.dataset.split.step, 1]))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.replay is None:
            return
        if not isinstance(data_batch['inputs'], list):
            raise ValueError('train_dataloader.collate_fn: got one that stacks images, but online steps add some to a '
                             'batch; take pseudo_collate.')
        self._new = [sample.sample_idx for sample in data_batch['data_samples']]
        self.replay.before_iteration(data_batch)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[Dict[str, Any]] = None) -> None:
        if self.replay is None:
            return
        if self.replay.uses_confidence:
            all_reduce(self._last.confidence)
            self.replay.after_iteration(self._last.confidence)
        evidence: List[Evidence] = []
        if self._policy.uses_features:
            batch = self._last.batch
            evidence = evidence_of(bare_model(runner), batch.student, batch.raw_target, batch.split)[:len(self._new)]
        for numbers, batch_evidence in all_gather_object((self._new, evidence)):
            self.buffer.offer(numbers, batch_evidence)

    def after_train_epoch(self, runner: Runner) -> None:
        # Before the checkpoint, so that a run that resumes it finds the memory.
        if self.replay is not None:
            confidence = [] if self.replay.confidence is None else self.replay.confidence.tolist()
            self._write(runner, self.buffer, dict(zip(self.buffer.classes, confidence)))

    def after_train(self, runner: Runner) -> None:
        if self.replay is None:
            self.finish_step(runner)
        else:
            self.replay.end()

    def finish_step(self, runner: Runner) -> None:
        """Offer all images of a step; also called for a step 0 from another run."""
        buffer = self._buffer(runner)
        stored, numbers = buffer.stored_numbers, buffer.numbers
        evidence = self._evidence(runner, [*stored, *numbers]) if self._policy.uses_features else []
        if evidence:
            buffer.add_evidence(evidence[:len(stored)])
        buffer.offer(numbers, evidence[len(stored):])
        self._write(runner, buffer, buffer.dataset.memory.confidence)

    def _buffer(self, runner: Runner) -> MemoryBuffer:
        dataset = memory_dataset(runner)
        return MemoryBuffer(dataset, self.size, self._policy, RandomState([common_seed(runner), dataset.split.step]))

    def _write(self, runner: Runner, buffer: MemoryBuffer, confidence: Dict[str, Optional[float]]) -> None:
        chosen = buffer.chosen()
        if is_main_process():
            exemplars = written(buffer.dataset, chosen, self.path.parent, self.export)
            buffer.memory(exemplars, confidence).save(self.path)
        barrier()
        set_class_means(runner, [candidate.readable for candidate in chosen])

    def _evidence(self, runner: Runner, numbers: Sequence[int]) -> List[Evidence]:
        """The model's evidence of images, by their numbers in the data set."""
        model, share, split = averaged_model(runner), [], memory_dataset(runner).split
        for batch in Pass(runner, Needs(embedding=True), student=True, images=numbers):
            share.extend(evidence_of(model, batch.student, batch.raw_target, split))
        # Processes take turns in the order of the numbers.
        shares = all_gather_object(share)
        return [shares[i % len(shares)][i // len(shares)] for i in range(len(numbers))]
