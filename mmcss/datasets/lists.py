"""Text files that list images, one a line."""
from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import List, Tuple

from mmengine.dataset import BaseDataset
from mmengine.fileio import get, get_text

MARK = '\ufeff'  # byte order mark, which editors of Windows put before a text


def read_names(file: str) -> List[str]:
    """The images that a text file lists, one a line, by any name of :func:`listed_as`.

    Empty lines, those that begin with '# ', spaces around names and a byte
    order mark are ignored.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no UTF-8 text.
    """
    try:
        lines = [line.strip().lstrip(MARK) for line in get(file).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f'{file} is no UTF-8 text ({error}), expected a list of image names, one a line.') from error
    return [line for line in lines if line and line != '#' and not line.startswith('# ')]


def listed_as(name: str) -> Tuple[str, ...]:
    """What a list may call an image: its path below the image folder or its file's name, with or without suffix."""
    path = PurePosixPath(name)
    return str(path), str(path.with_suffix('')), path.name, path.stem


def check_list(leaf: BaseDataset) -> None:
    """Make sure that a stock data set reads the list of its images as it was meant: a name without suffix in each line.

    Raises:
        ValueError: It has an empty line, a byte order mark, a comment or a
            suffix, each of which would be read as a part of a name.
    """
    file, suffix = getattr(leaf, 'ann_file', ''), getattr(leaf, 'img_suffix', None)
    if not file or not suffix or os.path.isdir(file):
        return
    paths = (str(leaf.get_data_info(i)['img_path']) for i in range(len(leaf)))
    odd = [path for path in paths if not _may_be_name(os.path.basename(path), suffix)]
    # A custom data set may list its images in another way: existing files are right.
    if not odd or all(map(os.path.exists, odd)):
        return
    for number, line in enumerate(get_text(file).splitlines(), start=1):
        if not _may_be_name(os.path.basename(line.strip()) + suffix, suffix):
            raise ValueError(f'{file}, line {number}: {line!r} is read as the name of an image, {odd[0]}. The list needs a '
                             f'name without {suffix} in each line, and no empty line, comment or byte order mark (save '
                             'it as plain UTF-8).')


def _may_be_name(name: str, suffix: str) -> bool:
    return name != suffix and not name.startswith((MARK, '#')) and not name.endswith(2 * suffix)
