"""Hands a step's model over to the next step."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner, find_latest_checkpoint, weights_to_cpu

from ..files import written_whole
from ..models import hand_over_meta, save_hand_over
from ..models.growing import folded
from .data_pass import averaged_model, bare_model
from .finite_hook import few, not_finite, stop_together


@HOOKS.register_module()
class HandOverHook(Hook):
    """Writes ``step_k.pth`` when a step's training is over.

    Each file has an ``id``, the hash of its tensors, and names its ``parent``, the id of the step before from which the
    model has grown, so that a step trained from another state of it is detected.

    With an EMA of the weights it holds the averaged ones, which are evaluated too. Where a part has changed the trained
    model (``changes_model``) the last checkpoint of the step is renewed after the hand-over: a resumed run reads one of
    them, never both.

    Args:
        path: The file to write.
        previous: The hand-over file of the step before, or None.
        meta: Metadata besides the data set's metainfo.
    """

    # After the parts' last moment, before hooks that publish checkpoints.
    priority = 'LOW'

    def __init__(self, path: str, previous: Optional[str], meta: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.previous = previous
        self.meta = dict(meta)

    def after_train(self, runner: Runner) -> None:
        bad = not_finite(averaged_model(runner))  # parts may have changed it since training ended
        problem = (runner.iter, f'the hand-over would hold NaN or infinite values in {few(bad)}') if bad else None
        stop_together(runner, problem)
        if is_main_process():
            metainfo = runner.train_dataloader.dataset.metainfo
            meta = dict(self.meta, parent=self._parent(runner), classes=list(metainfo['classes']),
                        dataset_meta=dict(metainfo))
            model = averaged_model(runner)
            save_hand_over(self.path, folded(model, model.state_dict()), meta)
            if any(part.changes_model for part in bare_model(runner).method.observers.values()):
                self._renew_checkpoint(runner)
        barrier()

    def _renew_checkpoint(self, runner: Runner) -> None:
        """Write the weights that are handed over into the checkpoint of the last iteration, if there is one."""
        latest = find_latest_checkpoint(runner.work_dir)
        path = Path(runner.work_dir) / Path(latest or 'none').name  # the stored path is absolute: wrong in a moved folder
        if not path.is_file():
            return
        checkpoint = CheckpointLoader.load_checkpoint(str(path), 'cpu')
        if checkpoint['meta']['iter'] == runner.iter:
            checkpoint['state_dict'] = weights_to_cpu(averaged_model(runner).state_dict())
            with written_whole(path) as file:
                torch.save(checkpoint, file)

    def _parent(self, runner: Runner) -> Optional[str]:
        """The id of the hand-over from which the model has grown; an error if its file has another one now."""
        if self.previous is None:
            return None
        initial, now = bare_model(runner).previous_id, (hand_over_meta(self.previous) or {}).get('id')
        if now != initial:
            raise ValueError(f'{self.previous} was {"replaced" if now else "removed"} while this step was trained from it '
                             f'(id {initial}, now {now}); the step is not handed over. Its checkpoints are intact: restore '
                             'the file and continue with --resume, or train the step again.')
        return initial
