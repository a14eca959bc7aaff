"""One run at a time in a work_dir."""
from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from mmengine.dist import is_main_process

from ..files import read_json
from .distributed import on_main_process

BEAT = 20.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without one after which a process of another machine is taken for dead


@contextmanager
def alone(work_dir: Path) -> Iterator[None]:
    """Within it no other run works in a folder; all processes of this one call it.

    Raises:
        ValueError: Another run works there.
    """
    lock = RunLock(work_dir)
    on_main_process(lock.take)
    try:
        yield
    finally:
        if is_main_process():
            lock.give_back()


class RunLock:
    """The file ``run.lock`` of a work_dir, which says who is working there.

    A lock whose process has ended is taken over: on this machine the process
    is looked for, on others the file's time has to stand still, which a
    running process sets anew every few seconds.

    Args:
        work_dir: The folder; made if it is not there.
    """

    def __init__(self, work_dir: Path) -> None:
        self.path = work_dir / 'run.lock'
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def take(self) -> None:
        """Take the lock.

        Raises:
            ValueError: Another run has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._made():
            self._take_away(self._dead_holder())
        self._heart.start()

    def give_back(self) -> None:
        """Let other runs in."""
        self._ended.set()
        self._heart.join()
        if self._is_own():
            self.path.unlink(missing_ok=True)

    def _made(self) -> bool:
        """Make the file with all its content, if there is none; returns whether it was made."""
        draft = self._beside()
        draft.write_text(json.dumps(_this_process()) + '\n')
        try:
            self._put(draft)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _put(self, file: Path) -> None:
        """Have the lock be a copy of a file; unlike with a rename, it is an error if there is one."""
        try:
            os.link(file, self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with open(self.path, 'x') as lock:
                lock.write(file.read_text())

    def _dead_holder(self) -> Dict[str, Any]:
        """The holder of the lock, which has ended.

        Raises:
            ValueError: It is still running.
        """
        holder, age = _read(self.path), self._age()
        # Elsewhere than on POSIX systems the question for a process would end it.
        here = os.name == 'posix' and holder.get('host') == socket.gethostname()
        if age is None or not (_lives(holder) if here else age < SILENCE):
            return holder
        hint = '' if here else (f' If it has ended: {SILENCE:.0f} s after its last sign of life, which was {age:.0f} s ago, '
                                'its lock no longer counts.')
        raise ValueError(f"{self.path.parent} is in use: process {holder.get('process')} on {holder.get('host')} has been "
                         f"working there since {holder.get('since')}. Wait for it to end, or give another --work-dir.{hint}")

    def _take_away(self, holder: Dict[str, Any]) -> None:
        """Remove the lock of a holder, unless another run has been faster and its own lock is there now."""
        aside = self._beside('.stale')
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        if _read(aside) != holder:
            with suppress(FileExistsError):
                self._put(aside)
        aside.unlink(missing_ok=True)

    def _beside(self, suffix: str = '') -> Path:
        """A file that no other process uses."""
        return self.path.with_name(f'{self.path.name}.{socket.gethostname()}.{os.getpid()}{suffix}')

    def _age(self) -> Optional[float]:
        """Seconds since the last sign of life, by the clock of the file system; None if there is no lock."""
        probe = self._beside()
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        finally:
            probe.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # of a file system that is away for a moment
                if self._is_own():
                    os.utime(self.path)

    def _is_own(self) -> bool:
        holder = _read(self.path)
        return (holder.get('host'), holder.get('process')) == (socket.gethostname(), os.getpid())


def _this_process() -> Dict[str, Any]:
    return dict(process=os.getpid(), host=socket.gethostname(), since=time.strftime('%Y-%m-%d %H:%M:%S'),
                began=_began(os.getpid()))


def _read(path: Path) -> Dict[str, Any]:
    """The content of a lock; empty if it is damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _lives(holder: Dict[str, Any]) -> bool:
    """Whether a process of this machine is still the one that took a lock."""
    process = holder.get('process')
    if not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return holder.get('began') == _began(process)


def _began(process: int) -> Optional[int]:
    """When a process began, in clock ticks since boot, as process ids are reused; None where the system does not say."""
    try:
        # The name of the program stands in brackets and may hold anything.
        fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else int(fields[19])
