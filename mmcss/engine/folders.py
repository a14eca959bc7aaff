"""What a step leaves on disk, and in which state it is."""
from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..files import PARTIAL, PathLike, check_archive, file_mark, is_there, read_json, remove, write_json
from ..models import hand_over_meta

CHECKPOINT = re.compile(r'(?:epoch|iter)_(\d+)\.pth')
# What a training leaves that another one in the same folder could take for its own; logs and configs stay.
LEFT_OVERS = ('*.pth', f'*{PARTIAL}', 'last_checkpoint', 'memory', 'memory.json', 'parts', 'result.json')


class StepFolder:
    """``work_dir/step_k`` and the files in it.

    Args:
        work_dir: Folder of all steps.
        step: Number of the step.
    """

    def __init__(self, work_dir: PathLike, step: int) -> None:
        self.work_dir = Path(work_dir)
        self.step = step
        self.path = self.work_dir / f'step_{step}'
        self.hand_over = self.path / f'step_{step}.pth'
        self.result = self.path / 'result.json'
        self.record = self.path / 'step.json'
        self.deploy = self.path / 'deploy.py'
        self.memory = self.path / 'memory.json'
        self._read: Dict[Path, Tuple[Any, Any]] = {}  # what a file held, and what it looked like

    @property
    def trained(self) -> bool:
        """Whether there is a hand-over, of whatever training, sound or not."""
        return is_there(self.hand_over)

    @property
    def id(self) -> Optional[str]:
        """Id of the hand-over, None if there is none."""
        return (self._meta() or {}).get('id')

    def trained_id(self, classes: Sequence[str], parent: Optional[str]) -> Optional[str]:
        """Id of the hand-over if it has these classes and stems from that of the id ``parent``.

        Raises:
            ValueError: It is there and is not sound.
        """
        meta = self._meta()
        if meta is None or list(meta['classes']) != list(classes) or meta.get('parent') != parent:
            return None
        return meta['id']

    def current_result(self, hand_over: Optional[str], protocol: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The result of the hand-over of that id under a protocol, None if there is none.

        Raises:
            ValueError: The file is there and is damaged.
        """
        if hand_over is None or not is_there(self.result):
            return None
        result = self.known(self.result, read_json)
        if (result.get('hand_over'), result.get('protocol')) != (hand_over, protocol):
            return None
        numbers = [result.get(key) for key in ('classes', 'IoU', 'scored')]
        if not all(isinstance(values, list) for values in numbers) or len({*map(len, numbers)}) > 1 or not isinstance(
                result.get('mIoU'), (int, float)):
            raise ValueError(f'{self.result} is damaged: it lacks the IoU of its classes. Delete it, and have the step tested '
                             f'again (tools/test.py --step {self.step}).')
        return result

    def checkpoint(self, parent: Optional[str] = None) -> Optional[Path]:
        """The step's own last whole checkpoint, if it was begun on top of the step before of that id."""
        if not is_there(self.record) or self.note().get('parent') != parent:
            return None
        return next((path for path in self._checkpoints() if self.known(path, _is_whole)), None)

    def _checkpoints(self) -> List[Path]:
        """Those that a run may go on from, the last one first."""
        pointer = self.path / 'last_checkpoint'
        noted = Path(pointer.read_text(errors='replace').strip()) if pointer.is_file() else None
        # mmengine notes an absolute path, which a moved folder breaks.
        pointed = [self.path / noted.name, noted] if noted is not None and noted.name else []
        # Stopped between a checkpoint and its note, or in the middle of one: others are whole.
        own = [(int(match.group(1)), path) for path in self.path.glob('*.pth')
               for match in [CHECKPOINT.fullmatch(path.name)] if match]
        return [path for path in (*pointed, *(path for _, path in sorted(own, reverse=True))) if path.is_file()]

    def others(self, run: Mapping[str, Any]) -> List[str]:
        """What differs of the run that began in the folder, if one did, from what :meth:`begin` would note of ``run``."""
        if not is_there(self.record):
            return []
        found, expected = self.note(), json.loads(json.dumps(run))
        return [key for key in expected if found.get(key) != expected[key]]

    def begin(self, run: Mapping[str, Any], settings: Optional[Mapping[str, Any]] = None,
              parent: Optional[str] = None) -> None:
        """Note what is going to be trained, and drop what a run that did not finish the step has left.

        Args:
            run: What :meth:`others` compares: split, regime, images, method.
            settings: What :attr:`settings` gives from now on. None for a step
                that was trained elsewhere, which is not finished until
                :meth:`finish`.
            parent: Id of the step before.

        Raises:
            FileExistsError: The step is finished; see :meth:`move_aside`.
        """
        if self.trained:
            raise FileExistsError(f'{self.hand_over} is there; a finished step is not overwritten.')
        self.path.mkdir(parents=True, exist_ok=True)
        for path in [path for path in self.path.iterdir() if is_left_over(path.name)]:
            remove(path)
        write_json(self.record, dict(run, parent=parent, settings=settings, unfinished=settings is None))

    def move_aside(self, folder: Path) -> None:
        """Move all that the step has left into another folder of the same disk."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path.rename(folder / self.path.name)

    def finish(self) -> None:
        """Note that all parts of the method have looked at a step that was trained elsewhere."""
        write_json(self.record, dict(self.note(), unfinished=False))

    @property
    def settings(self) -> Optional[Dict[str, Any]]:
        """What the step was trained with beside its method, None where that is not known."""
        return self.note().get('settings') if is_there(self.record) else None

    @property
    def unfinished(self) -> bool:
        """Whether a step that was trained elsewhere is still to be finished."""
        return is_there(self.record) and self.note().get('unfinished', False)

    def note(self) -> Dict[str, Any]:
        """What :meth:`begin` has noted.

        Raises:
            ValueError: The file is damaged.
        """
        try:
            return self.known(self.record, read_json)
        except ValueError as error:
            raise ValueError(f'{error} It notes what the step was trained with: bring back a copy of it, or train the step '
                             'anew (--overwrite).') from error

    def _meta(self) -> Optional[Dict[str, Any]]:
        return self.known(self.hand_over, hand_over_meta) if self.trained else None

    def known(self, path: Path, read: Any) -> Any:
        """What ``read`` gives of a file, which is read again when it has changed."""
        mark = file_mark(path)
        if self._read.get(path, (None, ))[0] != mark:
            self._read[path] = mark, read(path)
        return self._read[path][1]


def is_left_over(name: str) -> bool:
    """Whether a step that is begun anew deletes what is called so in its folder."""
    return any(fnmatchcase(name, pattern) for pattern in LEFT_OVERS)


def _is_whole(checkpoint: Path) -> bool:
    try:
        check_archive(checkpoint, required=True)
    except ValueError:
        return False
    return True
