"""Runners that leave no trace in a process that goes on."""
from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
import warnings
from typing import Any, Iterator

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

from ..random_state import preserved_random_state

SINGLETONS = (MMLogger, MessageHub, DefaultScope, Visualizer, SegLocalVisualizer)


def tear_down(runner: Runner) -> None:
    """Stop a runner's loader processes, close its files and remove its singletons.

    Left to the garbage collector each loader process takes five seconds to
    end, and the next runner would get loggers, message hubs and visualizers
    of this one.
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
    for kind in {*SINGLETONS, type(runner.visualizer)}:
        kind._instance_dict.clear()
    init_default_scope('mmseg')
    runner.model = None  # other references to the runner must not keep it
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class QuietStream:
    """Drops what is written to a stream while ``quiet``; a logger made meanwhile may go on to use it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.quiet = True

    def write(self, text: str) -> int:
        """Write to the stream, unless quiet."""
        return len(text) if self.quiet else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Restore the state of the process after the block, which prints nothing and runs as a single process."""
    instances = [(kind._instance_dict, dict(kind._instance_dict)) for kind in SINGLETONS]
    environment, is_initialized = dict(os.environ), torch.distributed.is_initialized
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    threads, frozen = torch.get_num_threads(), gc.get_freeze_count()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    out, err = QuietStream(sys.stdout), QuietStream(sys.stderr)
    with preserved_random_state(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as cache, \
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter('ignore')
        torch.set_num_threads(1)  # several threads would wait for each other longer than small images take
        if not frozen:
            gc.freeze()  # or the garbage collection after each runner goes through all that torch has imported
        os.environ['MMCSS_CACHE'] = cache
        MMLogger._instance_dict.clear()  # existing loggers go on writing where they did
        torch.distributed.is_initialized = lambda: False
        try:
            yield
        finally:
            out.quiet = err.quiet = False
            if not frozen:
                gc.unfreeze()
            torch.set_num_threads(threads)
            torch.distributed.is_initialized = is_initialized
            for name in os.environ.keys() - environment:
                del os.environ[name]
            os.environ.update(environment)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
            for current, before in instances:
                current.clear()
                current.update(before)
