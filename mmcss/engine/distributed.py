"""Several processes, with and without GPUs."""
from __future__ import annotations

import os
from typing import Any, Callable, List, Mapping, Optional, Sequence, TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import broadcast_object_list, init_dist, is_distributed, is_main_process
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

Result = TypeVar('Result')


@MODEL_WRAPPERS.register_module()
class DeviceAwareDDP(MMDistributedDataParallel):
    """MMDistributedDataParallel that also takes models on the CPU.

    There DDP wants no device ids, and SyncBN, which only works on GPUs,
    becomes BN.
    """

    def __init__(self, module: nn.Module, device_ids: Optional[Sequence[int]] = None, **kwargs: Any) -> None:
        if next(module.parameters()).device.type == 'cpu':
            device_ids = None
            module = revert_sync_batchnorm(module)
        super().__init__(module=module, device_ids=device_ids, **kwargs)


def join_processes(launcher: str, options: Mapping[str, Any]) -> None:
    """Form the process group before the first runner would.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        options: ``env_cfg.dist_cfg``; without a GPU its backend gives way to gloo.

    Raises:
        ValueError: A launcher other than pytorch without a GPU.
    """
    if launcher == 'none' or is_distributed():
        return
    if torch.cuda.is_available():
        init_dist(launcher, **options)
        return
    if launcher != 'pytorch':
        raise ValueError(f'without a GPU the launcher has to be pytorch (tools/dist_train.sh), not {launcher!r}.')
    os.environ.setdefault('LOCAL_RANK', '0')
    dist.init_process_group(backend='gloo')


def on_main_process(job: Callable[[], Result]) -> Result:
    """Do something on the main process alone; all get what it returns, or raise what it raises.

    Args:
        job: Returns what can be pickled.
    """
    box: List[Any] = [None, None]
    if is_main_process():
        try:
            box[0] = job()
        except Exception as error:
            box[1] = error
    broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]


def say(text: str) -> None:
    """Print on the main process."""
    if is_main_process():
        print(text, flush=True)
