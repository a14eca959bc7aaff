"""The file that one step hands over to the next: ``step_k.pth``.

It holds a state dict with stock names and plain metadata, so that it loads
with ``torch.load(weights_only=True)`` and in stock MMSegmentation
(``init_model``), under either distribution of the OpenMMLab stack. Its id is
the hash of its tensors: the same weights have the same id whenever they are
written, and changed bytes are detected.
"""
from __future__ import annotations

import hashlib
import inspect
import re
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from ..files import Mark, PathLike, check_archive, file_mark, is_there, plain, written_whole

# Tensors that are not read stay on disk, from torch 2.1 on.
MAPPED = {'mmap': True} if 'mmap' in inspect.signature(torch.load).parameters else {}
HASH = re.compile('[0-9a-f]{64}')


class NoHandOver(ValueError):
    """A file that is not a hand-over."""


# The hand-over that was read last, by its file's path and mark: model, teacher and parts of a step read the same file.
_last: Dict[Tuple[str, Mark], Dict[str, Any]] = {}


def tensors_id(state_dict: Mapping[str, Tensor]) -> str:
    """64 hexadecimal digits that change with any name, shape, dtype or bit of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_hand_over(path: PathLike, state_dict: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Dict[str, Any]:
    """Write a hand-over file, whole or not at all.

    Args:
        path: The file.
        state_dict: The model's tensors; written as CPU tensors.
        meta: Plain values; ``meta['classes']`` are the seen classes in
            learning order.

    Returns:
        The metadata as written, with the ``id``.

    Raises:
        OSError: The file can't be written, such as on a full disk.
    """
    tensors = {name: value.detach().cpu() for name, value in state_dict.items()}
    meta = dict(dict(id=tensors_id(tensors)), **plain(meta))
    with written_whole(path) as file:
        torch.save(dict(state_dict=tensors, meta=meta), file)
    return meta


def hand_over_meta(path: PathLike) -> Optional[Dict[str, Any]]:
    """The metadata of a hand-over file, with its ``id``, without reading its tensors; None if there is no such file.

    Raises:
        ValueError: It is not a sound hand-over.
    """
    if not is_there(path):
        return None
    hand_over = _read(Path(path), **MAPPED)
    meta = dict(hand_over['meta'])
    if not meta.get('id'):  # not written by mmcss
        meta['id'] = tensors_id(hand_over['state_dict'])
    return meta


def load_hand_over(path: PathLike, classes: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """Read a hand-over file on the CPU, without running code from it.

    The last one is cached (:func:`forget_hand_over`): don't change its tensors.

    Args:
        path: The file.
        classes: The seen classes that it must have, in learning order; None
            for any.

    Returns:
        Dict of ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, no hand-over, or of other classes.
    """
    path = Path(path)
    if not is_there(path):
        raise FileNotFoundError(f'{path} is missing; first train the step that writes it (mmcss train --step), or pass '
                                '--first-step-from.')
    key = (str(path.resolve()), file_mark(path))
    if key not in _last:
        forget_hand_over()
        _last[key] = check_hand_over(path)
    hand_over = _last[key]
    known = hand_over['meta']['classes']
    if classes is not None and list(known) != list(classes):
        raise ValueError(f'{path} is of another scenario or step: got {len(known)} classes, {list(known)}, expected '
                         f'{len(classes)}, {list(classes)}. Pass a work_dir or --first-step-from of the same scenario.')
    return hand_over


def forget_hand_over() -> None:
    """Free the hand-over that :func:`load_hand_over` has cached."""
    _last.clear()


def check_hand_over(path: PathLike) -> Dict[str, Any]:
    """Read a hand-over as :func:`load_hand_over` does, without caching; a ValueError if its bytes have changed."""
    hand_over = _read(Path(path))
    check_archive(path)
    computed, meta = tensors_id(hand_over['state_dict']), dict(hand_over['meta'])
    written = meta.setdefault('id', computed)
    if HASH.fullmatch(str(written)) and written != computed:
        raise ValueError(f'{path} is damaged: its tensors are not those that were written. Restore a copy of it, or train '
                         "its step again; if you changed them on purpose, remove 'id' from its meta.")
    return dict(hand_over, meta=meta)


def _read(path: Path, **options: Any) -> Dict[str, Any]:
    try:
        hand_over = torch.load(path, map_location='cpu', weights_only=True, **options)
    except OSError as error:  # of the system; the file may be sound
        raise ValueError(f'{path} can not be read: {error}.') from error
    except Exception as error:  # torch has no common error for these
        first_line = (str(error).splitlines() or [''])[0][:120]
        raise NoHandOver(f'{path} can not be read as a checkpoint of plain tensors: it is truncated or of another kind '
                         f'({type(error).__name__}: {first_line}). Restore a copy of it, or train its step again '
                         '(--overwrite).') from error
    if not _is_hand_over(hand_over):
        raise NoHandOver(f"{path} is no hand-over file of mmcss: it lacks state_dict or meta['classes']. To use a checkpoint "
                         'of MMSegmentation as step 0, pass it to --first-step-from.')
    return hand_over


def _is_hand_over(value: Any) -> bool:
    meta, state = (value.get(key) if isinstance(value, dict) else None for key in ('meta', 'state_dict'))
    if not isinstance(meta, dict) or not isinstance(state, dict):
        return False
    classes = meta.get('classes')
    return (isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes)
            and all(isinstance(tensor, Tensor) for tensor in state.values()))
