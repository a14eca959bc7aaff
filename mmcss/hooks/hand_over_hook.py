"""Leaves a step's model to the next step."""
from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Mapping, Optional

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..models import hand_over_meta, save_hand_over
from .data_pass import averaged_model


@HOOKS.register_module()
class HandOverHook(Hook):
    """Writes ``step_k.pth`` when a step's training is over.

    Each file has an ``id`` and names its ``parent``, so that a step which was
    trained from an earlier state of the step before is found out.

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
        if is_main_process():
            metainfo = runner.train_dataloader.dataset.metainfo
            parent = (hand_over_meta(self.previous) or {}).get('id') if self.previous else None
            meta = dict(self.meta, id=uuid.uuid4().hex, parent=parent, classes=list(metainfo['classes']),
                        dataset_meta=dict(metainfo))
            save_hand_over(self.path, averaged_model(runner).state_dict(), meta)
        barrier()
