"""Text files that list images, one a line."""
from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import List, Tuple

from mmengine.dataset import BaseDataset
from mmengine.fileio import get, get_text

MARK = '\ufeff'  # what editors of Windows put before a text


def read_names(file: str) -> List[str]:
    """The images that a text file lists, one a line; see :func:`listed_as`.

    Empty lines, those that begin with '# ', spaces around names and a byte
    order mark count for nothing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text of UTF-8.
    """
    try:
        lines = [line.strip().lstrip(MARK) for line in get(file).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f'{file} is no text of UTF-8 ({error}); it lists names of images, one a line.') from error
    return [line for line in lines if line and line != '#' and not line.startswith('# ')]


def listed_as(name: str) -> Tuple[str, ...]:
    """What a list may call an image: its path below the image folder or its file's name, with or without suffix."""
    path = PurePosixPath(name)
    return str(path), str(path.with_suffix('')), path.name, path.stem


def check_list(leaf: BaseDataset) -> None:
    """See that the list of a stock data set's images is as that data set reads it: names without suffix, one in each line.

    Raises:
        ValueError: There is an empty line, a byte order mark, a comment or a
            suffix in it, each of which would be a part of a name.
    """
    file, suffix = getattr(leaf, 'ann_file', ''), getattr(leaf, 'img_suffix', None)
    if not file or not suffix or os.path.isdir(file):
        return
    paths = (str(leaf.get_data_info(i)['img_path']) for i in range(len(leaf)))
    odd = [path for path in paths if not _may_be_name(os.path.basename(path), suffix)]
    # A data set of one's own may list its images in another way: what is there is right.
    if not odd or all(map(os.path.exists, odd)):
        return
    for number, line in enumerate(get_text(file).splitlines(), start=1):
        if not _may_be_name(os.path.basename(line.strip()) + suffix, suffix):
            raise ValueError(f'{file}, line {number}: {line!r} is read as the name of an image, {odd[0]}. The list needs a '
                             f'name without {suffix} in each line: no empty line, no comment, no byte order mark (save '
                             'it as plain UTF-8).')


def _may_be_name(name: str, suffix: str) -> bool:
    return name != suffix and not name.startswith((MARK, '#')) and not name.endswith(2 * suffix)
