"""Trial code that leaves no trace in the process."""
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
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

from ..random_state import preserved_random_state


class QuietStream:
    """A stream that drops what is written while it is ``quiet``; loggers made meanwhile go on using it.

    Args:
        stream: Where other text goes.
    """

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
    kinds = (MMLogger, MessageHub, DefaultScope, Visualizer, SegLocalVisualizer)
    instances = [(kind._instance_dict, dict(kind._instance_dict)) for kind in kinds]
    environment, alone = dict(os.environ), torch.distributed.is_initialized
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    threads, frozen = torch.get_num_threads(), gc.get_freeze_count()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    out, err = QuietStream(sys.stdout), QuietStream(sys.stderr)
    with preserved_random_state(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as cache, \
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter('ignore')
        torch.set_num_threads(1)  # several wait for each other longer than small images take
        if not frozen:
            gc.freeze()  # or each end of a runner looks through all that torch has imported
        os.environ['MMCSS_CACHE'] = cache
        MMLogger._instance_dict.clear()  # loggers that are there write where they did
        torch.distributed.is_initialized = lambda: False
        try:
            yield
        finally:
            out.quiet = err.quiet = False
            if not frozen:
                gc.unfreeze()
            torch.set_num_threads(threads)
            torch.distributed.is_initialized = alone
            for name in os.environ.keys() - environment:
                del os.environ[name]
            os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
            for holder, before in instances:
                holder.clear()
                holder.update(before)
