"""Files written whole or not at all, and the plain values that they hold."""
from __future__ import annotations

import errno
import json
import math
import os
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Mapping, Optional, Tuple, Union

PathLike = Union[str, Path]
Mark = Tuple[int, int, int]

PARTIAL = '.partial'  # behind the name of a file that is being written
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def written_whole(path: PathLike) -> Iterator[BinaryIO]:
    """A file to write to, which replaces ``path`` afterwards; if anything fails, the file before stays.

    It is flushed to the disk first, so that a loss of power leaves one or the other whole.

    Raises:
        OSError: It can't be written; a full disk is named as such.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        flush_folder(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        full = full_disk(error, path)
        if full is not None:
            raise full from error
        raise


def flush_folder(folder: PathLike) -> None:
    """Flush the entries of a folder to the disk, where the system can."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not
                raise
        finally:
            os.close(handle)


def is_there(path: PathLike) -> bool:
    """Whether there is anything at a path, including a broken link.

    Raises:
        OSError: The path can't be accessed.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def file_mark(path: PathLike) -> Mark:
    """A mark that changes when an existing file does."""
    stat = os.stat(path) if os.path.exists(path) else os.lstat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def full_disk(error: Optional[BaseException], path: PathLike) -> Optional[OSError]:
    """An error that names the file and its disk, if the cause of an error is a full disk; else None."""
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno in FULL), None)
    folder = Path(path).parent
    if number is None or not folder.is_dir():
        return None
    free = f'{shutil.disk_usage(folder).free / 2**20:.1f} MiB free' + ('; quota exceeded' if number == errno.EDQUOT else '')
    return OSError(number, f'no space left on the disk of {folder} ({free}). Free some, and continue with --resume; '
                   'finished files are intact. The file', str(path))


def flush_files(folder: PathLike) -> None:
    """Flush all files below a folder to the disk, so that it can be renamed."""
    for path in sorted(Path(folder).rglob('*')):
        if path.is_file():
            with open(path, 'rb') as file:
                os.fsync(file.fileno())
        else:
            flush_folder(path)
    flush_folder(folder)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_archive(path: PathLike, required: bool = False) -> None:
    """Compare a checkpoint's bytes with the checksums in it.

    Raises:
        ValueError: They differ; or ``required``, and the file has no checksums, since it is no zip archive.
    """
    if not zipfile.is_zipfile(path):
        if required:
            raise ValueError(f'{path} is damaged, or no checkpoint: it is no zip archive.')
        return
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        broken = str(error)
    if broken is not None:
        raise ValueError(f'{path} is damaged: its bytes are not those that were written ({broken}). Restore a copy of it, '
                         'or train its step again.')


def write_json(path: PathLike, value: Any) -> None:
    """Write a JSON file, whole; NaN becomes null."""
    text = json.dumps(_without_nan(value), indent=1) + '\n'
    with written_whole(path) as file:
        file.write(text.encode())


def read_json(path: PathLike, kind: type = dict) -> Any:
    """Read a JSON file that holds a ``kind``: dict or list.

    Raises:
        FileNotFoundError: It is missing.
        OSError: It can't be read.
        ValueError: It is no JSON, or of another kind.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f'{path} is damaged: it is no JSON ({error}).') from error
    if not isinstance(value, kind):
        raise ValueError(f'{path} is damaged: it holds {short(value)}, expected a {kind.__name__}.')
    return value


def short(value: Any, most: int = 40) -> str:
    """A value as text for messages, of at most ``most`` characters."""
    text = repr(value)
    return text if len(text) <= most else f'{text[:most - 3]}...'


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def plain(node: Any) -> Any:
    """A nested value with dicts for ConfigDicts and other mappings, for files and comparisons."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(plain(value) for value in node)
    return node
