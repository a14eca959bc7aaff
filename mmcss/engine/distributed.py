"""Several processes, with and without GPUs."""
from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple, TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import (all_gather_object, broadcast_object_list, get_world_size, init_dist, is_distributed,
                           is_main_process)
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

Result = TypeVar('Result')

# Errors that other processes raise as they are; all others become a RuntimeError there.
KINDS = (FileNotFoundError, ValueError)


@MODEL_WRAPPERS.register_module()
class DeviceAwareDDP(MMDistributedDataParallel):
    """MMDistributedDataParallel that also takes models on the CPU, where SyncBN, which needs GPUs, becomes BN."""

    def __init__(self, module: nn.Module, device_ids: Optional[Sequence[int]] = None, **kwargs: Any) -> None:
        if next(module.parameters()).device.type == 'cpu':
            device_ids, module = None, revert_sync_batchnorm(module)
        super().__init__(module=module, device_ids=device_ids, **kwargs)


def join_processes(launcher: str, options: Mapping[str, Any]) -> None:
    """Form the process group before the first runner does; without GPUs its backend is gloo.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        options: ``env_cfg.dist_cfg``, for machines with GPUs.

    Raises:
        ValueError: A launcher other than pytorch without GPUs.
    """
    if launcher == 'none' or is_distributed():
        return
    if torch.cuda.is_available():
        init_dist(launcher, **options)
        return
    if launcher != 'pytorch':
        raise ValueError(f"launcher: got {launcher!r}, expected 'pytorch' on machines without GPUs (tools/dist_train.sh).")
    os.environ.setdefault('LOCAL_RANK', '0')
    dist.init_process_group(backend='gloo')


def print_once(text: str) -> None:
    """Print on the main process alone."""
    if is_main_process():
        print(text, flush=True)


def together(job: Callable[[], Result]) -> Result:
    """Do a job on every process, and return its result on this one; an error on one process stops all at once.

    Otherwise the others would wait for it until a timeout. Jobs may be
    nested: all processes do the same ones in the same order, and learn of the
    failure of another at their next exchange.

    Raises:
        Exception: What the job raised here; or on the first of the other
            processes, as a ValueError, FileNotFoundError or RuntimeError.
    """
    try:
        result = job()
    except Exception as error:
        if not getattr(error, 'is_shared', False):
            _exchange(None, error)
        raise
    _exchange(None)
    return result


def on_main_process(job: Callable[[], Result]) -> Result:
    """Do a job on the main process alone; its result, which has to be picklable, and its errors are those of all.

    Raises:
        Exception: See :func:`together`.
    """
    box: List[Any] = [together(lambda: job() if is_main_process() else None)]
    broadcast_object_list(box)
    return box[0]


def agree(what: str, value: Any, advice: str) -> None:
    """Raise ValueError unless all processes have the same value.

    Args:
        what: Name of the value, for the message.
        value: A plain value.
        advice: What to do if they differ, for the message.
    """
    values = _exchange(value)
    places = [f'{found!r} in process {rank} on {host}' for rank, (host, found) in enumerate(values)
              if found != values[0][1] or rank == 0]
    if len(places) > 1:
        raise _shared(ValueError(f'{what} differ between processes: {", ".join(places[:4])}. {advice}'))


def _exchange(value: Any, error: Optional[Exception] = None) -> List[Tuple[str, Any]]:
    """Host and value of each process; if one of them gives an error, all others raise it."""
    failure = None
    if error is not None:
        kind = next((kind for kind in KINDS if isinstance(error, kind)), RuntimeError)
        failure = kind, str(error) if kind is not RuntimeError else f'{type(error).__name__}: {error}'
    exchanged = all_gather_object((socket.gethostname(), value, failure))
    if error is not None:
        _shared(error)
        return []
    for rank, (host, _, failure) in enumerate(exchanged):
        if failure is not None:
            raise _shared(failure[0](f'process {rank} on {host}: {failure[1]}'))
    return [(host, exchanged_value) for host, exchanged_value, _ in exchanged]


def _shared(error: Exception) -> Exception:
    """Mark an error that all processes raise."""
    error.is_shared = True  # type: ignore[attr-defined]
    return error


def check_shared(work_dir: Path, patience: float = 5.0) -> None:
    """Make sure that all processes see the same work_dir: each step goes on from files that the main process wrote.

    Args:
        work_dir: The folder; made if it is missing.
        patience: Seconds to wait for a file of the main process to appear;
            network file systems show it late.

    Raises:
        ValueError: Another machine has a different folder by that name.
    """
    if get_world_size() == 1:
        return
    names: List[Any] = [f'.seen_by_all_{uuid.uuid4().hex}']
    broadcast_object_list(names)
    mark = work_dir / names[0]

    def write() -> None:
        if is_main_process():
            work_dir.mkdir(parents=True, exist_ok=True)
            mark.touch()

    together(write)
    answers = _exchange((str(work_dir.resolve()), _appears(mark, patience)))
    missing = [f'process {rank} on {host} ({path})' for rank, (host, (path, sees)) in enumerate(answers) if not sees]
    if is_main_process():
        mark.unlink(missing_ok=True)
        if missing:
            with suppress(OSError):  # it holds other files
                work_dir.rmdir()
    if missing:
        host, (path, _) = answers[0]
        raise _shared(ValueError(f'--work-dir: got {work_dir}, expected a folder that all machines share, but a file that '
                                 f'process 0 on {host} wrote to {path} is missing for {", ".join(missing)}. Give the full '
                                 'path of a folder on a shared disk.'))


def _appears(path: Path, patience: float) -> bool:
    """Whether a file is there, or appears within ``patience`` seconds."""
    end = time.monotonic() + patience
    while not path.is_file():
        if time.monotonic() > end:
            return False
        with suppress(OSError):  # listing the folder makes a network file system look again
            os.listdir(path.parent)
        time.sleep(0.1)
    return True
