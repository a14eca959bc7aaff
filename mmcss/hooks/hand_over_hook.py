"""Leaves a step's model to the next step."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..models import hand_over_meta, save_hand_over
from .data_pass import averaged_model, bare_model
from .finite_hook import few, not_finite, stop_together


@HOOKS.register_module()
class HandOverHook(Hook):
    """Writes ``step_k.pth`` when a step's training is over.

    Each file has an ``id``, the hash of its tensors, and names its ``parent``,
    the one that the model has grown from, so that a step which was trained
    from another state of the step before is found out.

    With an EMA of the weights it hands over the averaged ones, which are
    those that are evaluated.

    Args:
        path: The file to write.
        previous: The hand-over file of the step before, or None.
        meta: What to say in it besides the data set's metainfo.
    """

    # After the parts' last moment, before hooks that publish checkpoints.
    priority = 'LOW'

    def __init__(self, path: str, previous: Optional[str], meta: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.previous = previous
        self.meta = dict(meta)

    def after_train(self, runner: Runner) -> None:
        bad = not_finite(averaged_model(runner))  # the last look: others have changed it since training ended
        stop_together(runner, (runner.iter, f'what is handed over holds NaN or infinite values in {few(bad)}') if bad else None)
        if is_main_process():
            metainfo = runner.train_dataloader.dataset.metainfo
            meta = dict(self.meta, parent=self._parent(runner), classes=list(metainfo['classes']),
                        dataset_meta=dict(metainfo))
            save_hand_over(self.path, averaged_model(runner).state_dict(), meta)
        barrier()

    def _parent(self, runner: Runner) -> Optional[str]:
        """The id that the step has grown from, if the step before still has it."""
        if self.previous is None:
            return None
        started, now = bare_model(runner).previous_id, (hand_over_meta(self.previous) or {}).get('id')
        if now != started:
            raise ValueError(f'{self.previous} was {"exchanged" if now else "removed"} while this step was trained on top '
                             f'of it (id {started}, now {now}); the step is not handed over. Its checkpoints are still '
                             'there: bring the file back and go on with --resume, or train the step anew.')
        return started
