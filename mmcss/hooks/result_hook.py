"""Saves the result of a step's evaluation."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..evaluation import ContinualIoUMetric
from ..files import write_json
from ..models import hand_over_meta


@HOOKS.register_module()
class ResultHook(Hook):
    """Writes ``result.json`` after a test of a step's hand-over.

    MMSegmentation's ``tools/test.py`` may test another checkpoint with the step's config, which is not the step's result.

    Args:
        path: The file to write.
        hand_over: The step's hand-over file, whose id is in the result.
        meta: Entries besides the metric's report.
    """

    def __init__(self, path: str, hand_over: str, meta: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.hand_over = Path(hand_over)
        self.meta = dict(meta)

    def after_test_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        if self._tests_another(runner):
            runner.logger.info(f'{self.path} is not written: this is no test of {self.hand_over.name}.')
            return
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, ContinualIoUMetric):
                if is_main_process():
                    meta = dict(self.meta, hand_over=(hand_over_meta(self.hand_over) or {}).get('id'),
                                num_test_images=len(runner.test_dataloader.dataset),
                                palette=metric.dataset_meta.get('palette'))
                    write_json(self.path, dict(meta, **metric.report))
                return
        raise ValueError("test_evaluator: got no ContinualIoUMetric, from which results over steps are computed; add "
                         "dict(type='ContinualIoUMetric').")

    def _tests_another(self, runner: Runner) -> bool:
        """Whether a checkpoint was loaded to be tested that is not the step's hand-over."""
        loaded = runner._load_from
        return loaded is not None and runner.iter == 0 and Path(loaded).resolve() != self.hand_over.resolve()
