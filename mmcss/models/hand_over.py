"""The file that one step leaves to the next: ``step_k.pth``.

It holds a state dict with stock names and plain metadata, so that it loads
with ``torch.load(weights_only=True)`` and in stock MMSegmentation
(``init_model``), under either distribution of the OpenMMLab stack.
"""
from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

import torch
from torch import Tensor

from ..files import PathLike, plain


# Tensors that are not touched stay on disk, from torch 2.1 on.
MAPPED = {'mmap': True} if 'mmap' in inspect.signature(torch.load).parameters else {}


def save_hand_over(path: PathLike, state_dict: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a hand-over file atomically.

    Args:
        path: Where to.
        state_dict: The model's tensors; written from the CPU.
        meta: Plain values; ``meta['classes']`` are the seen classes in
            learning order.
    """
    path = Path(path)
    tensors = {name: value.detach().cpu() for name, value in state_dict.items()}
    partial = path.with_name(path.name + '.partial')
    torch.save(dict(state_dict=tensors, meta=plain(meta)), partial)
    os.replace(partial, path)


def hand_over_meta(path: PathLike) -> Optional[Dict[str, Any]]:
    """The metadata of a hand-over file without reading its tensors; None if there is no sound one."""
    try:
        return dict(torch.load(path, map_location='cpu', weights_only=True, **MAPPED)['meta'])
    except Exception:  # missing, truncated or of another kind: torch has no common error for these
        return None


def load_hand_over(path: PathLike, classes: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """Read a hand-over file on the CPU, without running code from it.

    Args:
        path: The file.
        classes: The seen classes that it must have, in learning order; None
            to take any.

    Returns:
        Dict of ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is truncated, no hand-over, or of other classes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; run the step that leaves it first '
                                '(tools/train.py --step), or give --first-step-from.')
    try:
        hand_over = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(f'{path} can not be read as a checkpoint of plain tensors: it is truncated or of another kind '
                         f'({type(error).__name__}). Run its step again, or convert it to state_dict and meta.') from error
    if not isinstance(hand_over, dict) or 'state_dict' not in hand_over or 'classes' not in (
            hand_over.get('meta') or {}):
        raise ValueError(f"{path} is no hand-over of mmcss: it lacks state_dict or meta['classes'].")
    found = hand_over['meta']['classes']
    if classes is not None and list(found) != list(classes):
        raise ValueError(f'{path} is of another scenario or step: it knows {len(found)} classes {list(found)}, '
                         f'but {len(classes)} are expected, {list(classes)}. '
                         'Give the work_dir or --first-step-from of the same scenario.')
    return hand_over
