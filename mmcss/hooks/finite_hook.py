"""Stops a step whose losses or weights are NaN or infinite."""
from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from .data_pass import averaged_model, bare_model

ADVICE = ('Nothing of the step is handed over. Lower the learning rate (optim_wrapper.optimizer.lr; that of later steps is '
          'in next_steps), clip gradients (optim_wrapper.clip_grad), train without --amp, or check the images and labels.')
NAMED = 3  # how many weights a message names

Problem = Tuple[int, str]  # iterations done, and what is not finite


class Losses(NamedTuple):
    """Losses of an iteration (from 1): ``values`` ``[losses]`` on the model's device; ``files`` of the process's batch."""

    iteration: int
    names: Tuple[str, ...]
    values: Tensor
    files: Tuple[str, ...]


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops a step, on all processes, at the first loss or weight that is NaN or infinite.

    Losses stay on the device until they are checked: every ``interval`` iterations, and like the weights before each
    checkpoint, each validation and the hand-over. So neither a checkpoint to resume nor a file that the next step reads
    holds such values. Gradients may be infinite: mixed precision skips such an update. Other values in the log, such as an
    accuracy without pixels, may be NaN.

    Args:
        interval: Iterations between two checks of the losses.

    Raises:
        FloatingPointError: Names the losses, the iteration and its images.
    """

    # Before ContinualHook, whose parts read the trained model.
    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._losses: List[Losses] = []

    def before_train(self, runner: Runner) -> None:
        self._losses = []
        bad = not_finite(bare_model(runner))
        problem = (runner.iter, f'its initial weights hold NaN or infinite values in {few(bad)}') if bad else None
        stop_together(runner, problem)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[Mapping[str, Any]] = None) -> None:
        losses = {name: value for name, value in (outputs or {}).items() if 'loss' in name and isinstance(value, Tensor)}
        if losses:
            values = torch.stack([value.detach().float().reshape(()) for value in losses.values()])
            self._losses.append(Losses(runner.iter + 1, tuple(losses), values, files_of(data_batch)))
        if saves_now(runner):
            self._check_numbers(runner, runner.iter + 1)
        elif self.every_n_train_iters(runner, self.interval):
            stop_together(runner, self._first_loss())

    def after_train_epoch(self, runner: Runner) -> None:
        self._check_numbers(runner, runner.iter)

    before_val_epoch = after_train = after_train_epoch

    def before_save_checkpoint(self, runner: Runner, checkpoint: Dict[str, Any]) -> None:
        # Whichever hook saves it. Called on the main process alone, which suffices to end a run.
        bad = _with_nan(checkpoint['state_dict'])
        if bad:
            raise FloatingPointError(f'the checkpoint after iteration {runner.iter} would hold NaN in {few(bad)}. {ADVICE}')

    def _check_numbers(self, runner: Runner, done: int) -> None:
        """Stop all processes if a loss or a weight is not finite after ``done`` iterations."""
        problem = self._first_loss()
        if problem is None:
            model, average = bare_model(runner), averaged_model(runner)
            bad = not_finite(model)
            bad += [f'the average of {name}' for name in not_finite(average)] if average is not model else []
            if bad:
                problem = done, (f'after iteration {done} the model holds NaN or infinite values in {few(bad)}, '
                              'though all losses are finite')
        stop_together(runner, problem)

    def _first_loss(self) -> Optional[Problem]:
        """The first iteration with a loss that is not finite; clears the stored losses."""
        pending, self._losses = self._losses, []
        if not pending:
            return None
        values = torch.cat([losses.values for losses in pending]).cpu()  # the only place that waits for the device
        for losses, numbers in zip(pending, values.split([len(losses.names) for losses in pending])):
            if not numbers.isfinite().all():
                bad = {name: value for name, value in zip(losses.names, numbers.tolist()) if not math.isfinite(value)}
                if len(bad) > 1:
                    bad.pop('loss', None)  # their sum
                named = ', '.join(f'{name} is {value}' for name, value in bad.items())
                images = f' on {", ".join(losses.files)}' if losses.files else ''
                return losses.iteration, f'{named} in iteration {losses.iteration}{images}'
        return None


def saves_now(runner: Runner) -> bool:
    """Whether a hook is going to save a checkpoint after this iteration."""
    return any(isinstance(hook, CheckpointHook) and not hook.by_epoch and (
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))) for hook in runner.hooks)


def stop_together(runner: Runner, problem: Optional[Problem]) -> None:
    """Stop all processes if one of them has a problem.

    Raises:
        FloatingPointError: About the problem of the earliest iteration.
    """
    first = min((problem for problem in all_gather_object(problem) if problem is not None), default=None)
    if first is not None:
        raise FloatingPointError(f'step {bare_model(runner).split.step}: {first[1]}. {ADVICE}')


def check_state(runner: Runner, part: str, state: Mapping[str, Tensor]) -> None:
    """Refuse a part's state with NaN; infinite values, such as thresholds, may be intended.

    Raises:
        FloatingPointError: Names the part and its tensors.
    """
    bad = _with_nan(state)
    stop_together(runner, (runner.iter, f'the state of {part} holds NaN in {few(bad)}') if bad else None)


def not_finite(model: nn.Module) -> List[str]:
    """Names of a model's parameters that are not finite, and of its buffers that hold NaN.

    A buffer may be infinite on purpose, like an attention's mask.
    """
    parameters = dict(model.named_parameters())
    tensors = {**parameters, **dict(model.named_buffers())}
    if not tensors:
        return []
    # A sum takes a tenth of the time of checking each number, which is done where the sum is not finite.
    sums = torch.stack([value.detach().sum().abs().float() for value in tensors.values()]).tolist()
    return [name for (name, value), total in zip(tensors.items(), sums) if not math.isfinite(total)
            and (not value.isfinite().all() if name in parameters else value.isnan().any())]


def _with_nan(state: Mapping[str, Any]) -> List[str]:
    return [name for name, value in state.items() if isinstance(value, Tensor) and value.isnan().any()]


def files_of(data_batch: Any) -> Tuple[str, ...]:
    """The images of a batch, as far as its samples name them."""
    samples = data_batch.get('data_samples', ()) if isinstance(data_batch, Mapping) else ()
    return tuple(sample.img_path for sample in samples if hasattr(sample, 'img_path'))


def few(names: List[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
    return f'{", ".join(names[:NAMED])}{more}'
