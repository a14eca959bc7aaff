"""Which label values each image holds: scanned once per data set, then cached."""
from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier, is_main_process
from rich.progress import track

from .sources import LabelReader

VERSION = 1  # of the cached format and of how labels are read


def cache_folder() -> Path:
    """Where presence tables are kept: ``$MMCSS_CACHE`` or the user's cache folder."""
    default = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'mmcss'
    return Path(os.environ.get('MMCSS_CACHE', default)) / 'presence'


def presence_table(leaf: BaseDataset) -> np.ndarray:
    """Which raw label values each image of a data set holds.

    Args:
        leaf: A stock data set, fully initialised.

    Returns:
        ``[images, 256]`` bool.
    """
    infos = [leaf.get_data_info(i) for i in range(len(leaf))]
    reader = LabelReader(leaf)
    path = cache_folder() / f'{_key(infos, reader)}.npy'
    # One process scans, the others wait for its file.
    table = None
    if is_main_process() and not path.is_file():
        table = _scan(infos, reader)
        _store(path, table)
    barrier()
    if table is not None:
        return table
    if path.is_file():
        return np.unpackbits(np.load(path), axis=1).astype(bool)
    return _scan(infos, reader)  # the folder can not be written, or is not shared


def _scan(infos: List[Dict[str, Any]], reader: LabelReader) -> np.ndarray:

    def look(info: Dict[str, Any]) -> np.ndarray:
        try:
            labels = reader(info)
        except Exception as error:
            raise ValueError(f"the label map {info.get('seg_map_path')} can not be read: {error}") from error
        if labels.ndim != 2:
            raise ValueError(f"the label map {info['seg_map_path']} has shape {labels.shape}; "
                             'a single-channel map of class numbers is needed.')
        return np.bincount(labels.ravel(), minlength=256) > 0

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        rows = list(track(pool.map(look, infos), 'Scanning label maps', total=len(infos),
                          disable=not is_main_process(), transient=True))
    return np.array(rows, dtype=bool).reshape(-1, 256)


def _key(infos: List[Dict[str, Any]], reader: LabelReader) -> str:
    """A key that changes when the label files or the way of reading them do."""
    digest = hashlib.sha256(f'{VERSION} {reader.loader!r}'.encode())
    for info in infos:
        path = info.get('seg_map_path')
        try:
            stat = os.stat(path)
            mark = f'{stat.st_size} {stat.st_mtime_ns}'
        except (OSError, TypeError):  # missing, which the scan reports, or on a remote file system
            mark = ''
        digest.update(f"{path} {mark} {info.get('label_map')}\n".encode())
    return digest.hexdigest()[:32]


def _store(path: Path, table: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'{path.name}.{os.getpid()}.npy')
        np.save(partial, np.packbits(table, axis=1))
        os.replace(partial, path)
    except OSError:
        pass  # a cache that can't be written costs time, not the run
