"""The end of a runner whose process goes on."""
from __future__ import annotations

import gc
from typing import Any

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer


def tear_down(runner: Runner) -> None:
    """Stop a runner's loader processes, close its files and forget its singletons.

    Left to the garbage collector each loader process takes five seconds to
    end, and loggers, message hubs and visualizers of one runner are found by
    the next.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        iterator: Any = getattr(getattr(loop, 'dataloader', None), '_iterator', None)
        iterator = iterator or getattr(getattr(loop, 'dataloader_iterator', None), '_iterator', None)
        if hasattr(iterator, '_shutdown_workers'):
            iterator._shutdown_workers()
    runner.visualizer.close()
    for handler in list(runner.logger.handlers):
        handler.close()
        runner.logger.removeHandler(handler)
    for holder in {MMLogger, MessageHub, DefaultScope, Visualizer, type(runner.visualizer)}:
        holder._instance_dict.clear()
    init_default_scope('mmseg')
    runner.model = None  # other references to the runner shall not keep it
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
