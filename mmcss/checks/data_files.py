"""What lies in the folders of a data set: what is absent, has no partner, and which sizes label maps have."""
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from mmengine.dataset import BaseDataset
from PIL import Image

FOLDERS = ('img_path', 'seg_map_path')


def absent_places(prefix: Mapping[str, str], ann_file: str) -> List[str]:
    """Folders and lists of files that are not there."""
    places = {f'data_prefix.{key}': (prefix[key], os.path.isdir(prefix[key])) for key in FOLDERS if prefix.get(key)}
    places['ann_file'] = (ann_file, os.path.exists(ann_file))
    return [f'there is no {place}; mend data_root or {key}, or put the data there'
            for key, (place, exists) in places.items() if place and '://' not in place and not exists]


def is_missing(path: str) -> bool:
    """Whether a file of this machine is not there."""
    return '://' not in path and not os.path.exists(path)


def more(number: int) -> str:
    """What stands behind the first of several."""
    return f' (and {number - 1} more like it)' if number > 1 else ''


def files_below(folder: str, suffix: str) -> List[str]:
    """Files of a folder and of those in it, without folder and suffix, sorted."""
    paths = (os.path.relpath(os.path.join(parent, name), folder)
             for parent, _, names in os.walk(folder, followlinks=True) for name in names if name.endswith(suffix))
    return sorted(path[:len(path) - len(suffix)] for path in paths)


def label_maps(leaf: BaseDataset) -> Tuple[Optional[int], List[str]]:
    """Number of label maps in a data set's folder, None where it is not known, and those without an image."""
    suffixes = [suffix for name in ('img_suffix', 'seg_map_suffix') if (suffix := getattr(leaf, name, None)) is not None]
    prefix = getattr(leaf, 'data_prefix', {})
    folders = [prefix[key] for key in FOLDERS if prefix.get(key) and '://' not in prefix[key]]
    if len(suffixes) < len(FOLDERS) or len(folders) < len(FOLDERS):
        return None, []
    images, maps = (files_below(folder, suffix) for folder, suffix in zip(folders, suffixes))
    known = set(images)
    return len(maps), [os.path.join(folders[1], stem + suffixes[1]) for stem in maps if stem not in known]


def sizes(infos: Sequence[Mapping[str, Any]]) -> str:
    """Smallest and largest label map, by its pixels, and how many sizes there are."""

    def size_of(info: Mapping[str, Any]) -> Optional[Tuple[int, int]]:
        try:
            with Image.open(info['seg_map_path']) as opened:
                return opened.size
        except Exception:  # which the scan reports
            return None

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        found = {size for size in pool.map(size_of, infos) if size is not None}
    distinct = sorted(found, key=lambda size: (size[0] * size[1], size))
    if not distinct:
        return '-'
    texts = [f'{width} x {height}' for width, height in distinct]
    return texts[0] if len(texts) == 1 else f'{texts[0]} to {texts[-1]}, {len(texts)} different'
