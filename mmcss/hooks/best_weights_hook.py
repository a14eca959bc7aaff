"""Restores the best weights of a step before it is handed over."""
from __future__ import annotations

from pathlib import Path
from typing import Optional

from mmengine.dist import barrier
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, EpochBasedTrainLoop, Runner

from .data_pass import averaged_model, bare_model


@HOOKS.register_module()
class BestWeightsHook(Hook):
    """Loads, at the end of a step, the checkpoint that CheckpointHook's ``save_best`` has saved.

    The parts' last moment, the memory, the hand-over and the test use the weights of the best validation, instead of those
    of the last iteration. A resumed run repeats the validation at which it was stopped.
    """

    # Before the parts' last moment.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._validate = False

    def before_train(self, runner: Runner) -> None:
        # A checkpoint is saved before the validation of its epoch, whose score it lacks.
        self._validate = runner._resume and validates_after(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        if self._validate:
            self._validate = False
            runner.val_loop.run()

    def after_train(self, runner: Runner) -> None:
        self.before_train_epoch(runner)  # of a run that was stopped behind its last epoch
        barrier()  # until the main process has saved it
        path = best_checkpoint(runner)
        if path is None:
            raise ValueError("run.hand_over='best': no best checkpoint was saved. Set save_best in "
                             'default_hooks.checkpoint, val_dataloader, and in train_cfg a val_interval within the step.')
        runner.logger.info(f'the weights of {path} are handed over')
        local = Path(runner.work_dir) / Path(path).name  # the stored path is absolute, and wrong in a moved folder
        state = CheckpointLoader.load_checkpoint(str(local if local.is_file() else path), 'cpu')['state_dict']
        for model in {id(model): model for model in (bare_model(runner), averaged_model(runner))}.values():
            model.load_state_dict(state, strict=True)


def validates_after(runner: Runner) -> bool:
    """Whether the epoch, or iteration, that has ended is followed by a validation."""
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, most = (runner.epoch, runner.max_epochs) if by_epoch else (runner.iter, runner.max_iters)
    return runner.val_loop is not None and done >= max(loop.val_begin, 1) and (done % loop.val_interval == 0 or done == most)


def best_checkpoint(runner: Runner) -> Optional[str]:
    """The checkpoint of the best validation so far; with several measures that of the first."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            several = getattr(hook, 'best_ckpt_path_dict', {})
            return getattr(hook, 'best_ckpt_path', None) or next(iter(several.values()), None)
    return None
