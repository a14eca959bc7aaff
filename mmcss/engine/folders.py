"""What a step leaves on disk, and in which state it is."""
from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..files import PathLike, read_json, write_json
from ..models import hand_over_meta


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
        self.split = self.path / 'split.json'
        self.deploy = self.path / 'deploy.py'
        self.memory = self.path / 'memory.json'

    def parent_id(self) -> Optional[str]:
        """Id of the step before, None at step 0 or where it is missing."""
        if self.step == 0:
            return None
        return (hand_over_meta(StepFolder(self.work_dir, self.step - 1).hand_over) or {}).get('id')

    def trained_id(self, classes: Sequence[str]) -> Optional[str]:
        """Id of the hand-over if it is sound, has these classes and stems from the step before as it is now."""
        meta = hand_over_meta(self.hand_over)
        if meta is None or list(meta['classes']) != list(classes) or meta.get('parent') != self.parent_id():
            return None
        return meta['id']

    def current_result(self, classes: Sequence[str], protocol: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The result of the hand-over as it is now under a protocol, None if there is none."""
        trained = self.trained_id(classes)
        if trained is None or not self.result.is_file():
            return None
        result = read_json(self.result)
        return result if (result.get('hand_over'), result.get('protocol')) == (trained, protocol) else None

    def checkpoint(self) -> Optional[Path]:
        """The step's own last checkpoint, if a run from the same step before left a whole one."""
        pointer = self.path / 'last_checkpoint'
        if not pointer.is_file() or not self.split.is_file():
            return None
        if read_json(self.split).get('parent') != self.parent_id():
            return None
        # mmengine notes an absolute path, which a moved folder breaks.
        noted = Path(pointer.read_text().strip())
        return next((path for path in (self.path / noted.name, noted) if zipfile.is_zipfile(path)), None)

    def check(self, run: Mapping[str, Any]) -> None:
        """Make sure that the folder, if a run began in it, is of this run.

        Args:
            run: What :meth:`begin` would note: split, regime and method.

        Raises:
            ValueError: It is of another scenario or method.
        """
        other = self.others(run)
        if other:
            raise ValueError(f'{self.path} was trained with another scenario or method: {other} of {self.split.name} '
                             'differ. Give another --work-dir, or leave --resume out to train anew.')

    def others(self, run: Mapping[str, Any]) -> List[str]:
        """What differs of the run that began in the folder, if one did."""
        if not self.split.is_file():
            return []
        found, expected = read_json(self.split), json.loads(json.dumps(run))
        return [key for key in expected if found.get(key) != expected[key]]

    def begin(self, run: Mapping[str, Any], settings: Optional[Mapping[str, Any]] = None) -> None:
        """Note what is going to be trained, and drop what an earlier run left over.

        Args:
            run: What :meth:`check` compares.
            settings: What :attr:`settings` gives from now on. None for a step
                that was trained elsewhere, which is not finished until
                :meth:`finish`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        leftovers = [self.hand_over, self.result, self.memory, self.path / 'last_checkpoint', *self.path.glob('*.npz')]
        for path in leftovers:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.path / 'memory', ignore_errors=True)
        write_json(self.split, dict(run, parent=self.parent_id(), settings=settings, unfinished=settings is None))

    def finish(self) -> None:
        """Note that all parts of the method have looked at a step that was trained elsewhere."""
        write_json(self.split, dict(read_json(self.split), unfinished=False))

    @property
    def settings(self) -> Optional[Dict[str, Any]]:
        """What the step was trained with beside its method, None where that is not known."""
        return read_json(self.split).get('settings') if self.split.is_file() else None

    @property
    def unfinished(self) -> bool:
        """Whether a step that was trained elsewhere is still to be finished."""
        return self.split.is_file() and read_json(self.split).get('unfinished', False)
