"""Leaves a step's model to the next step."""
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

    Each file has an ``id``, the hash of its tensors, and names its ``parent``,
    the one that the model has grown from, so that a step which was trained
    from another state of the step before is found out.

    With an EMA of the weights it hands over the averaged ones, which are
    those that are evaluated. Where a part has changed the trained model
    (``changes_model``) the checkpoint of the step's end gets what is handed
    over, behind it: a run that goes on reads one of them, never both.

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
            model = averaged_model(runner)
            save_hand_over(self.path, folded(model, model.state_dict()), meta)
            if any(part.changes_model for part in bare_model(runner).method.observers.values()):
                self._renew_checkpoint(runner)
        barrier()

    def _renew_checkpoint(self, runner: Runner) -> None:
        """Have the checkpoint of the last iteration, if there is one, hold what is handed over."""
        noted = find_latest_checkpoint(runner.work_dir)
        path = Path(runner.work_dir) / Path(noted or 'none').name  # an absolute path is noted, which a moved folder breaks
        if not path.is_file():
            return
        checkpoint = CheckpointLoader.load_checkpoint(str(path), 'cpu')
        if checkpoint['meta']['iter'] == runner.iter:
            checkpoint['state_dict'] = weights_to_cpu(averaged_model(runner).state_dict())
            with written_whole(path) as file:
                torch.save(checkpoint, file)

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
