"""A disk that is full while a run writes to it."""
from __future__ import annotations

import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..files import PARTIAL, full_disk, remove


@contextmanager
def named_full_disk(work_dir: Path) -> Iterator[None]:
    """Within it an error of a full disk names the file and the disk, and leaves no half file in the steps' folders.

    Raises:
        OSError: In place of any error that comes from a full disk.
    """
    try:
        yield
    except Exception as error:
        # mmengine writes its checkpoints in place, unlike hand-overs.
        half = [path for path in work_dir.glob('step_*/*.pth')
                if path.stem != path.parent.name and not zipfile.is_zipfile(path)]
        full = full_disk(error, half[0] if half else getattr(error, 'filename', None) or work_dir / 'results.json')
        if full is None:
            raise
        for path in [*half, *work_dir.rglob(f'*{PARTIAL}')]:
            remove(path)
        raise full from error
