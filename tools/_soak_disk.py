"""Runs whose disk is full at different moments, and a run whose loss is no number."""
from __future__ import annotations

import contextlib
import errno
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator, List, Optional

from mmcss.checks import NOT_RUN, Row, judged
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from _soak_processes import Training
from _soak_runs import attempt, differences, hand_overs, make_config, run, write_data

MOMENTS = {
    'before_train': 'the beginning of a step',
    'after_train_epoch': 'the checkpoint of an epoch',
    'after_train': 'the memory and the hand-over',
    'before_test': 'the test',
    'after_test': 'the results',
}
# Bytes that are left free. Some files need more than the most of them, some less.
FREE = (0, 8 * 1024, 64 * 1024, 256 * 1024)
STEP = 1


@HOOKS.register_module(force=True)
class SoakBallastHook(Hook):
    """Fills the disk at a moment of step 1.

    Args:
        moment: One of :data:`MOMENTS`.
        path: The file to fill it with.
        free: Bytes to leave.
    """

    # Ahead of all hooks that write.
    priority = 'HIGHEST'

    def __init__(self, moment: str, path: str, free: int) -> None:
        def fill(runner: Any, *arguments: Any, **more: Any) -> None:
            if f'step_{STEP}' == Path(runner.work_dir).name:
                fill_disk(Path(path), free)
        setattr(self, moment, fill)


def fill_disk(path: Path, free: int) -> None:
    """Write a file that leaves so many bytes of its disk free."""
    available = shutil.disk_usage(path.parent).free - free
    with path.open('ab') as out, contextlib.suppress(OSError):
        while available > 0:
            out.write(bytes(min(available, 2**16)))
            out.flush()
            available -= 2**16


@contextlib.contextmanager
def small_disk(folder: Path, size: str = '32m') -> Iterator[Optional[str]]:
    """Mounts a tmpfs on a folder; yields the error of mount, None if it was mounted."""
    folder.mkdir()
    try:
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)], capture_output=True,
                              text=True)
        refused = done.stderr.strip() if done.returncode else None
    except FileNotFoundError:
        refused = 'there is no mount'
    try:
        yield refused
    finally:
        if refused is None:
            subprocess.run(['umount', '-l', str(folder)], check=True)


def disk(root: Path, quick: bool = False) -> List[Row]:
    """Fill the disk of a run, check its error and its files, make room, and resume it.

    Args:
        root: An empty folder.
        quick: Two moments and one amount of free bytes only.
    """
    data = write_data(root / 'data')
    with small_disk(root / 'disk') as refused:
        if refused is not None:
            return [Row('disk', 'all', NOT_RUN, f'a small disk can not be mounted: {refused}')]
        whole = make_config(data, root / 'whole', 'ssul_m')
        error, _ = attempt(lambda: run(whole))
        if error is not None:
            return [judged('disk', 'the run to compare with', [f'{type(error).__name__}: {error}'])]
        moments = [*MOMENTS][1:3] if quick else MOMENTS
        return [_full(root, data, moment, free) for moment in moments for free in FREE[:1 if quick else None]]


def _full(root: Path, data: Path, moment: str, free: int) -> Row:
    work_dir, ballast = root / 'disk' / 'run', root / 'disk' / 'ballast'
    shutil.rmtree(work_dir, ignore_errors=True)
    hook = dict(type='SoakBallastHook', moment=moment, path=str(ballast), free=free)
    error, _ = attempt(lambda: run(make_config(data, work_dir, 'ssul_m', custom_hooks=[hook])))
    filled = ballast.exists()
    before = hand_overs(work_dir)
    faults = [] if filled else ['the disk was never full']
    if error is not None:
        faults += _unclear(error, work_dir)
    faults += [f'half a file stays: {path.name}' for path in work_dir.rglob('*.partial')]
    ballast.unlink(missing_ok=True)
    again, _ = attempt(lambda: run(make_config(data, work_dir, 'ssul_m', resume=True)))
    if again is not None:
        faults.append(f'with room again, --resume: {type(again).__name__}: {again}')
    else:
        faults += differences(root / 'whole', work_dir)
    after = hand_overs(work_dir)
    faults += [f'{name} was changed' for name, digest in before.items() if after.get(name) != digest]
    note = 'all of the rest fitted' if error is None else str(error)[:110].replace(str(root), '')
    return judged('disk', f'full from {MOMENTS[moment]} on but for {free // 1024} KiB', faults, note)


def _unclear(error: Exception, work_dir: Path) -> List[str]:
    """What an error on a full disk fails to name."""
    text, faults = str(error), []
    if getattr(error, 'errno', None) != errno.ENOSPC and 'space' not in text.lower():
        faults.append(f'{type(error).__name__} does not name the full disk: {text}')
    names = {path.name for path in work_dir.rglob('*')} | {'results.json', 'result.json', 'memory.json', f'step_{STEP}.pth'}
    if not any(name in text for name in names) and str(work_dir) not in text:
        faults.append(f'{type(error).__name__} names no file: {text}')
    return faults


def nan(root: Path) -> List[Row]:
    """A learning rate at which the loss of step 1 becomes NaN.

    Args:
        root: An empty folder.
    """
    config = make_config(write_data(root / 'data'), root / 'run', next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=1e20))),
                         train_cfg=dict(max_epochs=3))
    config.dump(str(root / 'run.py'))
    training = Training(root / 'run.py', root / 'run.log')
    status, faults = training.wait(), []
    if status in (0, None):
        faults.append('it went on')
    elif 'loss' not in training.error():
        faults.append(f'its error names no loss: {training.error()}')
    left = hand_overs(root / 'run')
    if set(left) != {'step_0.pth'}:
        faults.append(f'it has left {sorted(left) or "no hand-over"}, step_0.pth was expected')
    return [judged('nan', 'a learning rate of 1e20 at step 1', faults, f'ended with {status}: {training.error()[:110]}')]
