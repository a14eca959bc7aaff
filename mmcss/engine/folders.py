"""The files of a step on disk, and whether they are whole."""
from __future__ import annotations

import json
import re
import zipfile
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..files import PARTIAL, PathLike, check_archive, file_mark, full_disk, is_there, read_json, remove, write_json
from ..models import hand_over_meta
from ..version import versions

CHECKPOINT = re.compile(r'(?:epoch|iter)_(\d+)\.pth')
# Files that a later training in the same folder could take for its own; logs and configs stay.
LEFT_OVERS = ('*.pth', f'*{PARTIAL}', 'last_checkpoint', 'memory', 'memory.json', 'parts', 'result.json')


class StepFolder:
    """``work_dir/step_k`` and the files in it."""

    def __init__(self, work_dir: PathLike, step: int) -> None:
        self.work_dir = Path(work_dir)
        self.step = step
        self.path = self.work_dir / f'step_{step}'
        self.hand_over = self.path / f'step_{step}.pth'
        self.result = self.path / 'result.json'
        self.record = self.path / 'step.json'
        self.deploy = self.path / 'deploy.py'
        self.memory = self.path / 'memory.json'
        self._cache: Dict[Path, Tuple[Any, Any]] = {}  # the mark of a file, and what was read from it

    @property
    def handed_over(self) -> bool:
        """Whether there is a hand-over, of whatever training, sound or not."""
        return is_there(self.hand_over)

    @property
    def id(self) -> Optional[str]:
        """Id of the hand-over, None if there is none."""
        return (self._meta() or {}).get('id')

    def trained_id(self, classes: Sequence[str], parent: Optional[str]) -> Optional[str]:
        """Id of the hand-over if it has these classes and was trained on top of the hand-over with the id ``parent``.

        Raises:
            ValueError: The hand-over is damaged.
        """
        meta = self._meta()
        if meta is None or list(meta['classes']) != list(classes) or meta.get('parent') != parent:
            return None
        return meta['id']

    def current_result(self, hand_over: Optional[str], protocol: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The result of the hand-over with that id under a protocol, None if there is none.

        Raises:
            ValueError: The file is damaged.
        """
        if hand_over is None or not is_there(self.result):
            return None
        result = self.read_cached(self.result, read_json)
        if (result.get('hand_over'), result.get('protocol')) != (hand_over, protocol):
            return None
        numbers = [result.get(key) for key in ('classes', 'IoU', 'scored')]
        if not all(isinstance(values, list) for values in numbers) or len({*map(len, numbers)}) > 1 or not isinstance(
                result.get('mIoU'), (int, float)):
            raise ValueError(f'{self.result} is damaged: it lacks the IoU of its classes. Delete it and test the step again '
                             f'(mmcss test --step {self.step}).')
        return result

    def checkpoint(self, parent: Optional[str] = None) -> Optional[Path]:
        """The last whole checkpoint of a training on top of the hand-over with the id ``parent``."""
        record = self.read_record()
        if record is None or record.get('parent') != parent:
            return None
        return next((path for path in self._checkpoints() if self.read_cached(path, _is_whole)), None)

    def _checkpoints(self) -> List[Path]:
        """Those that a run may resume from, the last one first."""
        pointer = self.path / 'last_checkpoint'
        target = Path(pointer.read_text(errors='replace').strip()) if pointer.is_file() else Path()
        # mmengine writes an absolute path, which breaks when the folder is moved.
        pointed = [self.path / target.name, target] if target.name else []
        # A run that stopped within a checkpoint, or before its pointer, has whole ones that the pointer doesn't name.
        numbered = [(int(match.group(1)), path) for path in self.path.glob('*.pth')
                    for match in [CHECKPOINT.fullmatch(path.name)] if match]
        return [path for path in (*pointed, *(path for _, path in sorted(numbered, reverse=True))) if path.is_file()]

    def differences(self, run: Mapping[str, Any]) -> List[str]:
        """The keys in which the run that began the folder, if any, differs from ``run``, see :meth:`begin`."""
        begun, expected = self.read_record(), json.loads(json.dumps(run))
        return [] if begun is None else [key for key in expected if begun.get(key) != expected[key]]

    def begin(self, run: Mapping[str, Any], settings: Optional[Mapping[str, Any]] = None,
              parent: Optional[str] = None) -> None:
        """Write the record of a step that is about to be trained, and delete the files of a training that did not end.

        Args:
            run: What :meth:`differences` compares: split, regime, images, method.
            settings: What the step is trained with besides its method. None
                for a step that was trained elsewhere, which is unfinished
                until :meth:`finish`.
            parent: Id of the step before.

        Raises:
            FileExistsError: The step is finished; see :meth:`move_aside`.
        """
        if self.handed_over:
            raise FileExistsError(f'{self.hand_over} exists; a finished step is not overwritten.')
        self.path.mkdir(parents=True, exist_ok=True)
        for path in list(self.path.iterdir()):
            if any(fnmatchcase(path.name, pattern) for pattern in LEFT_OVERS):
                remove(path)
        write_json(self.record, dict(run, parent=parent, settings=settings, unfinished=settings is None, versions=versions()))

    def move_aside(self, folder: Path) -> None:
        """Move the step's folder into another one on the same disk."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path.rename(folder / self.path.name)

    def finish(self) -> None:
        """Record that the parts of the method have finished a step that was trained elsewhere."""
        write_json(self.record, dict(self.read_record() or {}, unfinished=False))

    def add_seconds(self, seconds: float) -> None:
        """Add to the recorded wall time of the step. The time of processes that were killed is not in it."""
        record = self.read_record() or {}
        write_json(self.record, dict(record, seconds=round(record.get('seconds', 0) + seconds, 1)))

    @property
    def settings(self) -> Optional[Dict[str, Any]]:
        """What the step was trained with besides its method, None if that is not known."""
        return (self.read_record() or {}).get('settings')

    @property
    def unfinished(self) -> bool:
        """Whether a step that was trained elsewhere is still to be finished."""
        return (self.read_record() or {}).get('unfinished', False)

    def read_record(self) -> Optional[Dict[str, Any]]:
        """What :meth:`begin` has written, None if there is no record.

        Raises:
            ValueError: The file is damaged.
        """
        try:
            return self.read_cached(self.record, read_json) if is_there(self.record) else None
        except ValueError as error:
            raise ValueError(f'{error} It records what the step was trained with: restore a copy of it, or train the step '
                             'anew (--overwrite).') from error

    def _meta(self) -> Optional[Dict[str, Any]]:
        return self.read_cached(self.hand_over, hand_over_meta) if self.handed_over else None

    def read_cached(self, path: Path, read: Any) -> Any:
        """``read(path)``, which is called again only when the file has changed."""
        mark = file_mark(path)
        if self._cache.get(path, (None, ))[0] != mark:
            self._cache[path] = mark, read(path)
        return self._cache[path][1]


def _is_whole(checkpoint: Path) -> bool:
    try:
        check_archive(checkpoint, required=True)
    except ValueError:
        return False
    return True


@contextmanager
def full_disk_reported(work_dir: Path) -> Iterator[None]:
    """Within it the error of a full disk names the file and the disk, and half-written files in the work_dir are deleted.

    Raises:
        OSError: In place of any error that a full disk has caused.
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
