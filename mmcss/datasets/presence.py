"""Which label values each image holds: scanned once per data set, then cached."""
from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from rich.progress import track

from .broken_files import FileCheck, Info
from .sources import keep_zero

VERSION = 4  # of the cached format and of how labels are read
Broken = List[Tuple[str, str]]  # files that can't be used, each with the reason

# Tables of data sets with broken files, which are cached for this process only, as the files will be replaced.
_BROKEN_TREES: Dict[Path, Tuple[np.ndarray, Broken]] = {}


def cache_folder() -> Path:
    """Where presence tables are cached: ``$MMCSS_CACHE`` or the user's cache folder."""
    if 'MMCSS_CACHE' in os.environ:
        return Path(os.environ['MMCSS_CACHE']) / 'presence'
    # expanduser leaves ~ if there is no home (a container's nameless user).
    user = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return Path(tempfile.gettempdir() if user.startswith('~') else user) / 'mmcss' / 'presence'


def presence_table(leaf: BaseDataset, broken: Optional[Broken] = None, images: bool = True) -> np.ndarray:
    """Which raw label values each image of a data set holds.

    The main process scans the files; all get its table, its list and its error.

    Args:
        leaf: A stock data set, fully initialised.
        broken: None for an error at the first label map that can't be used.
            Each such file is appended to a list, with the reason, and the row
            of its image is all False.
        images: Whether, with such a list, image files are decoded too, and
            their sizes compared with those of the label maps.

    Returns:
        ``[images, 256]`` bool.

    Raises:
        ValueError: A label map is missing, can't be read, or is no
            single-channel map of 8 bits; the message names it.
    """
    box: List[Any] = [None, [], None]
    if is_main_process():
        infos = [leaf.get_data_info(i) for i in range(len(leaf))]
        try:
            check = FileCheck(leaf, images and broken is not None)
            if infos and 'seg_map_path' not in infos[0]:
                raise ValueError(f'{type(leaf).__name__} has no label maps; add seg_map_path to its data_prefix.')
            box[0] = _cached(infos, check, box[1], strict=broken is None)
        except ValueError as error:
            box[2] = error
    broadcast_object_list(box)
    packed, broken_files, failure = box
    if failure is not None:
        raise failure
    if broken is not None:
        broken.extend(broken_files)
    # Column by column in memory: selecting a step's images is then ten times as fast.
    return np.unpackbits(packed, axis=1).astype(bool, order='F')


def _cached(infos: List[Info], check: FileCheck, broken: Broken, strict: bool) -> np.ndarray:
    """The table, its rows packed, from the cache, which has no broken files, or from a scan."""
    path = cache_folder() / f'{_key(infos, check)}.npy'
    table = _stored(path, len(infos))
    if table is not None:
        return table
    if path in _BROKEN_TREES and not strict:
        table, broken_files = _BROKEN_TREES[path]
        broken.extend(broken_files)
        return table
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        rows = []
        for row, bad in track(pool.map(check, infos), 'Scanning label maps', total=len(infos), transient=True):
            if bad and strict:
                raise bad[0]
            broken.extend((file.path, file.reason) for file in bad)
            rows.append(row)
    table = np.packbits(np.array(rows, dtype=bool).reshape(-1, 256), axis=1)
    if broken:
        _BROKEN_TREES[path] = table, list(broken)
    else:
        _store(path, table)
    return table


def _key(infos: List[Info], check: FileCheck) -> str:
    """A key that changes when the files or the way of reading them do."""
    digest = hashlib.sha256(f'{VERSION} {check.description}'.encode())
    for info in infos:
        for path in (info['seg_map_path'], info['img_path'])[:1 + (check.images is not None)]:
            try:
                stat = os.stat(path)
                mark = f'{stat.st_size} {stat.st_mtime_ns}'
            except OSError:  # missing, which the scan reports, or on a remote file system
                mark = ''
            digest.update(f"{path} {mark} {keep_zero(info)['label_map']}\n".encode())
    return digest.hexdigest()[:32]


def _stored(path: Path, images: int) -> Optional[np.ndarray]:
    """The table of that many images in a file of the cache; None if there is none, or a damaged one."""
    try:
        with open(path, 'rb') as file:
            table = np.lib.format.read_array(file, allow_pickle=False)
        if table.dtype != np.uint8 or table.shape != (images + 1, 32):
            raise ValueError(f'it is {table.dtype} of shape {table.shape}, expected uint8 of {(images + 1, 32)}')
        if not np.array_equal(table[-1], _checksum(table[:-1])):
            raise ValueError('its checksum is wrong')
    except FileNotFoundError:
        return None
    except Exception as error:  # of any kind: the label maps can be scanned again
        print_log(f'{path} can not be used ({type(error).__name__}: {error}); the label maps are scanned again.', 'current',
                  logging.WARNING)
        return None
    return table[:-1]


def _checksum(table: np.ndarray) -> np.ndarray:
    """``[32]`` uint8: the last row of a stored table."""
    return np.frombuffer(hashlib.sha256(table.tobytes()).digest(), dtype=np.uint8)


def _store(path: Path, table: np.ndarray) -> None:
    # A unique name, also among processes of several machines that share the folder.
    partial = path.with_name(f'{path.name}.{uuid.uuid4().hex}.npy')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(partial, np.vstack((table, _checksum(table))))
        os.replace(partial, path)
    except OSError:  # a cache that can't be written costs time, not the run
        with suppress(OSError):
            partial.unlink()
