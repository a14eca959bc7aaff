"""Keeps what a step's evaluation found."""
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
    """Writes ``result.json`` after a test of what a step handed over.

    MMSegmentation's ``tools/test.py`` may test another checkpoint with the
    step's config; that is not the step's result.

    Args:
        path: The file to write.
        hand_over: The step's hand-over file, whose id the result names.
        meta: What to say in it besides the metric's report.
    """

    def __init__(self, path: str, hand_over: str, meta: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.hand_over = Path(hand_over)
        self.meta = dict(meta)

    def after_test_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        if self._tests_another(runner):
            runner.logger.info(f'{self.path} stays as it is: it is of {self.hand_over.name}.')
            return
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, ContinualIoUMetric):
                if is_main_process():
                    model = hand_over_meta(self.hand_over) or {}
                    result = dict(self.meta, hand_over=model.get('id'),
                                  num_test_images=len(runner.test_dataloader.dataset), **metric.report)
                    write_json(self.path, result)
                return
        raise ValueError('test_evaluator has no ContinualIoUMetric, which the results over steps are made from; '
                         "add dict(type='ContinualIoUMetric') to it.")

    def _tests_another(self, runner: Runner) -> bool:
        """Whether a checkpoint was loaded that is neither trained further here nor the step's hand-over."""
        loaded = runner._load_from
        return loaded is not None and runner.iter == 0 and Path(loaded).resolve() != self.hand_over.resolve()
