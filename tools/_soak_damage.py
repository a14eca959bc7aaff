"""Finished runs whose files are damaged, and files that try to run code."""
from __future__ import annotations

import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmcss.checks import Row, judged
from mmcss.engine import ContinualRunner
from mmengine.config import Config

from _soak_runs import attempt, differences, hand_overs, make_config, run, same_file, write_data

# The step whose files are damaged has one before and one after it.
STEP = 1
METHOD = 'reminder_m'  # leaves every kind of file
ALLOWED = (ValueError, OSError)


# Ways to damage a file.


def _overwrite(path: Path) -> None:
    content = path.read_bytes()
    middle = max(len(content) // 2 - 32, 0)
    path.write_bytes(content[:middle] + bytes(range(64)) + content[middle + 64:])


def _halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _writer(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)
    return write


DAMAGES: Dict[str, Callable[[Path], None]] = {
    'empty': _writer(b''),
    'cut in half': _halve,
    'garbage': _writer(random.Random(0).randbytes(300)),
    '64 bytes overwritten': _overwrite,
    'missing': Path.unlink,
    'a folder': _make_folder,
}
# Of files of text.
OTHER_TEXT: Dict[str, Callable[[Path], None]] = {
    'null': _writer(b'null'), '[]': _writer(b'[]'), '{}': _writer(b'{}'), 'no UTF-8': _writer(b'\x82\x00\xff')}


def ways(name: str) -> Dict[str, Callable[[Path], None]]:
    """The ways to damage a file of that name."""
    return dict(DAMAGES, **OTHER_TEXT) if name.endswith(('.json', 'last_checkpoint', '.txt')) else DAMAGES


def files_of(work_dir: Path, cache: Path) -> List[Path]:
    """The files that are damaged: of one step, of the run, and the hand-over of the step before."""
    step = work_dir / f'step_{STEP}'
    files = [work_dir / 'step_0' / 'step_0.pth', work_dir / 'results.json', step / f'step_{STEP}.pth',
             *(step / name for name in ('step.json', 'result.json', 'memory.json', 'last_checkpoint'))]
    files += sorted((step / 'parts').glob('*.npz'))
    files += [path for kind in ('images', 'labels') for path in sorted((step / 'memory' / kind).glob('*'))[:1]]
    return [path for path in [*files, *sorted(path for path in cache.rglob('*') if path.is_file())[:1]] if path.is_file()]


# What is done with a damaged run.


class Check:
    """A finished run, a copy of it to damage, and what is expected of the copy.

    Args:
        root: An empty folder. The environment's MMCSS_CACHE lies in it.
    """

    def __init__(self, root: Path) -> None:
        self.data, self.root, self.work_dir = write_data(root / 'data'), root, root / 'run'
        self.cache = Path(os.environ['MMCSS_CACHE'])
        error, _ = attempt(lambda: run(self.config()))
        if error is not None:
            raise error
        shutil.copytree(self.work_dir, root / 'whole')
        shutil.copytree(self.cache, root / 'whole_cache')

    def config(self, work_dir: Optional[Path] = None, **changes: Any) -> Config:
        """The config of the run, or of another one like it."""
        return make_config(self.data, work_dir or self.work_dir, METHOD, train_cfg=dict(max_epochs=1), **changes)

    def restore(self, without_last: bool = False) -> None:
        """Put a whole copy in place; the last step may be still to be trained."""
        for whole, place in ((self.root / 'whole', self.work_dir), (self.root / 'whole_cache', self.cache)):
            shutil.rmtree(place)
            shutil.copytree(whole, place)
        if without_last:
            shutil.rmtree(self.work_dir / f'step_{STEP + 1}')

    def actions(self) -> Iterator[Tuple[str, bool, Callable[[], Any]]]:
        """What a user may do then: name, whether the last step is still untrained, and a function that does it."""
        yield '--resume', False, lambda: run(self.config(resume=True))
        yield f'--step {STEP + 1}', True, lambda: run(self.config(resume=True), steps=str(STEP + 1))
        yield 'test.py', False, lambda: ContinualRunner.from_cfg(self.config()).test()

    def damage_and_act(self, path: Path, way: Callable[[Path], None], without_last: bool, act: Callable[[], Any],
             restores: bool) -> Tuple[List[str], bool]:
        """Damage a file and act: the faults of the outcome, and whether it is an error.

        A step without its files counts as not done: only ``--resume`` (``restores``) trains it again.
        """
        self.restore(without_last)
        way(path)
        before, damaged, was_missing = hand_overs(self.work_dir), _content(path), not path.exists()
        error, _ = attempt(act)
        faults = [f'{name} was {"changed" if name in after else "deleted"}'
                  for after in [hand_overs(self.work_dir)] for name, digest in before.items()
                  if after.get(name) != digest and not same_file(self._whole(name), self._place(name))]
        if error is not None:
            if not isinstance(error, ALLOWED):
                faults.append(f'{type(error).__name__}: {error}')
            elif path.name not in str(error):
                faults.append(f"{type(error).__name__} without the file's name: {error}")
            return faults, True
        left = [] if was_missing and not restores else differences(self.root / 'whole', self.work_dir)
        if _content(path) == damaged and not self._needed(path, without_last):
            # A file that is not read may stay as it is.
            left = [fault for fault in left if str(path.relative_to(self.root)).split('/', 1)[1] not in fault]
        return faults + left, False

    def _needed(self, path: Path, without_last: bool) -> bool:
        """Whether a damaged file must be noticed: hand-overs, but for those that the last step does not start from."""
        hand_over = path.suffix == '.pth' and not (without_last and path.stem != f'step_{STEP}')
        return hand_over or path.name == 'results.json'

    def _place(self, name: str) -> Path:
        return self.work_dir / Path(name).stem / name

    def _whole(self, name: str) -> Path:
        return self.root / 'whole' / Path(name).stem / name


def _content(path: Path) -> Optional[bytes]:
    return path.read_bytes() if path.is_file() else None


def damage(root: Path, quick: bool = False) -> List[Row]:
    """Damage each file in each way, go on, train the next step and test.

    Args:
        root: An empty folder.
        quick: Every third way only, and one of the actions for each.
    """
    check, rows = Check(root), []
    for path in files_of(check.root / 'whole', check.root / 'whole_cache'):
        in_cache = check.root / 'whole_cache' in path.parents
        place = (check.cache / path.relative_to(check.root / 'whole_cache') if in_cache
                 else check.work_dir / path.relative_to(check.root / 'whole'))
        chosen = list(ways(path.name).items())[::3 if quick else 1]
        faults, errors, count = [], 0, 0
        for number, (way, function) in enumerate(chosen):
            actions = list(check.actions())
            for action, without_last, act in actions[number % len(actions)::len(actions) if quick else 1]:
                wrong, refused = check.damage_and_act(place, function, without_last, act, action == '--resume')
                faults += [f'{way}, {action}: {fault[:300]}' for fault in wrong]
                errors, count = errors + refused, count + 1
        shown = 'presence table' if in_cache else str(place.relative_to(check.work_dir))
        rows.append(judged('damage', shown, faults, f'{count} times: {count - errors} equal results, {errors} errors that '
                           'name it'))
    return rows


# Code in files.


class _Code:
    """Pickled, it touches a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Tuple[Any, ...]:
        return os.system, (f'touch {self.marker}',)


def _write_code(path: Path, marker: Path, whole: bool = True) -> None:
    """A file as torch (``whole``) or plain pickle writes it; or one of numpy's, by its name."""
    path.unlink(missing_ok=True)
    if path.suffix == '.npz':
        np.savez(path, code=np.array([_Code(marker)], dtype=object))
    elif whole:
        torch.save(dict(state_dict=dict(code=_Code(marker)), meta=dict(classes=['background'], id='x')), path)
    else:
        path.write_bytes(pickle.dumps(dict(state_dict={}, meta=_Code(marker))))


def hostile(root: Path) -> List[Row]:
    """Put files with code in the place of each file that is read, in torch's format and as plain pickles.

    Args:
        root: An empty folder.
    """
    check, foreign = Check(root), root / 'foreign.pth'
    last, before = check.work_dir / f'step_{STEP + 1}', check.work_dir / f'step_{STEP}'
    resume, next_step, test = (act for _, _, act in check.actions())
    fresh = dict(work_dir=root / 'other')
    pointed = sorted((root / 'whole' / last.name).glob('epoch_*.pth'))[-1].name

    def point_to_it() -> None:
        (last / pointed).unlink()
        (last / 'last_checkpoint').write_text(str(foreign))

    places: Dict[str, Tuple[Path, Callable[[], Any], Callable[[], Any]]] = {
        'hand-over, --resume': (before / f'step_{STEP}.pth', lambda: None, resume),
        'hand-over, the next step': (before / f'step_{STEP}.pth', lambda: shutil.rmtree(last), next_step),
        'hand-over, test.py': (before / f'step_{STEP}.pth', lambda: None, test),
        'checkpoint, --resume': (last / pointed, (last / f'{last.name}.pth').unlink, resume),
        'last_checkpoint names it': (foreign, lambda: ((last / f'{last.name}.pth').unlink(), point_to_it()), resume),
        '--first-step-from': (foreign, lambda: None, lambda: run(check.config(**fresh), first_step_from=str(foreign))),
        'load_from': (foreign, lambda: None, lambda: run(check.config(load_from=str(foreign), **fresh))),
        'statistics (npz), the next step': (before / 'parts' / 'csw_kd.npz', lambda: shutil.rmtree(last), next_step),
    }
    rows = []
    for case, (path, prepare, act) in places.items():
        faults, outcomes = [], []
        for whole in (True, False)[:1 if path.suffix == '.npz' else 2]:
            check.restore()
            shutil.rmtree(root / 'other', ignore_errors=True)
            prepare()
            _write_code(path, root / 'marker', whole)
            error, _ = attempt(act)
            if (root / 'marker').exists():
                faults.append('its code has run')
                (root / 'marker').unlink()
            if error is not None and (not isinstance(error, ALLOWED) or path.name not in str(error)):
                faults.append(f'{type(error).__name__}: {error}')
            outcomes.append('refused' if error is not None else 'not read')
        rows.append(judged('hostile', case, faults, f'no code has run; {" and ".join(outcomes)}'))
    return rows
