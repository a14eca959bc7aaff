"""Reading checkpoints from disk without running code that they contain.

mmengine's checkpoints hold its log buffers beside tensors. The original stack
can't read these with a current torch; the fork falls back to the unsafe way,
which runs whatever code the file contains. Here both read what mmengine
writes, and nothing else. Pretrained weights from the network are loaded as
mmengine does.
"""
from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader
from packaging.version import Version

from ..files import check_archive

# Since then a name in a file can be bound to a function of our choice.
SUPPORTED = Version(torch.__version__) >= Version('2.7')
# The methods that mmengine's pickled objects refer to by name.
METHODS = {HistoryBuffer: ('min', 'max', 'current', 'mean'),
           OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear')}


@contextlib.contextmanager
def plain_checkpoints() -> Iterator[None]:
    """Within it mmengine reads files by :func:`load_from_plain_file` (torch >= 2.7; else in its own way)."""
    schemes = CheckpointLoader._schemes
    before = schemes['']
    if SUPPORTED:
        schemes[''] = load_from_plain_file
    try:
        yield
    finally:
        schemes[''] = before


def load_from_plain_file(filename: str, map_location: Any = None) -> Any:
    """A checkpoint from disk; ``map_location`` is that of ``torch.load``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is truncated or altered, or holds more than tensors,
            plain values and mmengine's log buffers.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{filename} can not be found.')
    with torch.serialization.safe_globals(_allowed()) if SUPPORTED else contextlib.nullcontext():
        try:
            loaded = torch.load(path, map_location=map_location, weights_only=True)
        except OSError as error:  # the file itself may be sound
            raise ValueError(f'{filename} can not be read: {error}.') from error
        except Exception as error:  # torch has no common error for these
            kinds = 'tensors, plain values and log buffers' if SUPPORTED else 'tensors and plain values (log buffers: torch 2.7)'
            raise ValueError(f'{filename} can not be read as {kinds}: it is truncated, or holds other objects, whose code '
                             f'would have to be run ({error}). If you trust it, load it with torch.load(weights_only=False) '
                             'and save it without them.') from error
    check_archive(path)
    return loaded


def _allowed() -> List[Union[Callable[..., Any], Tuple[Callable[..., Any], str]]]:
    core = np._core if hasattr(np, '_core') else np.core
    # Log buffers are written with numpy's arrays.
    return [
        *METHODS, (_known_method, 'builtins.getattr'), np.ndarray, np.dtype, core.multiarray._reconstruct,
        core.multiarray.scalar, *{type(np.dtype(kind)) for kind in np.typecodes['AllInteger'] + np.typecodes['Float'] + '?'}
    ]


def _known_method(owner: Any, name: str) -> Callable[..., Any]:
    if name not in METHODS.get(owner, ()):
        raise ValueError(f'it asks for {name!r} of {owner!r}')
    return getattr(owner, name)
