"""Reading checkpoints on disk without running code from them.

mmengine's checkpoints hold its log buffers beside tensors. The originals can't
read these on a current torch; the fork tries, and reads what it doesn't know
in the unsafe way, which runs whatever the file says. Here both read what
mmengine writes, and nothing else. Pretrained weights that mmengine fetches
from the network go its own way.
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

# Since then names in a file can be bound to functions of ours.
SUPPORTED = Version(torch.__version__) >= Version('2.7')
# What mmengine's objects refer to by name: a log buffer to its own methods, this scheduler to its own curves.
METHODS = {HistoryBuffer: ('min', 'max', 'current', 'mean'),
           OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear')}


@contextlib.contextmanager
def plain_checkpoints() -> Iterator[None]:
    """Within it mmengine reads files by :func:`load_from_plain_file` (torch >= 2.7; before, as it always does)."""
    schemes = CheckpointLoader._schemes
    before = schemes['']
    if SUPPORTED:
        schemes[''] = load_from_plain_file
    try:
        yield
    finally:
        schemes[''] = before


def load_from_plain_file(filename: str, map_location: Any = None) -> Any:
    """A checkpoint from disk.

    Args:
        filename: Its path.
        map_location: As in ``torch.load``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is truncated or altered, or holds more than tensors,
            plain values and mmengine's log buffers.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{filename} can not be found.')
    with torch.serialization.safe_globals(_allowed()) if SUPPORTED else contextlib.nullcontext():
        try:
            loaded = torch.load(path, map_location=map_location, weights_only=True)
        except OSError as error:  # the system's; the file may be sound
            raise ValueError(f'{filename} can not be read: {error}.') from error
        except Exception as error:  # torch has no common error for these
            kinds = 'tensors, plain values and log buffers' if SUPPORTED else 'tensors and plain values (log buffers: torch 2.7)'
            raise ValueError(
                f'{filename} can not be read as {kinds}: it is truncated or holds other objects, whose code would have to '
                f'be run ({error}). If you trust it, load it with torch.load(weights_only=False) and save it without '
                'them.') from error
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
