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
SILENCE = 120.0  # seconds without a sign of life after which a process of another machine is taken for dead


@contextmanager
def locked(work_dir: Path) -> Iterator[None]:
    """Within it no other run works in a folder, see :meth:`RunLock.take`; all processes of this run call it."""
    lock = RunLock(work_dir)
    on_main_process(lock.take)
    try:
        yield
    finally:
        if is_main_process():
            lock.give_back()


class RunLock:
    """The file ``run.lock`` of a work_dir, which names the process that works there.

    The lock of a process that has ended is taken over. On this machine that
    is known from the process itself, on others from the file's time, which a
    running process renews every few seconds.
    """

    def __init__(self, work_dir: Path) -> None:
        self.path = work_dir / 'run.lock'
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def take(self) -> None:
        """Take the lock; the folder is made if it is missing.

        Raises:
            ValueError: Another run has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._create():
            self._remove(self._dead_holder())
        self._heart.start()

    def give_back(self) -> None:
        """Let other runs in."""
        self._ended.set()
        self._heart.join()
        if self._is_held():
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        """Create the file with all its content, unless it exists; returns whether it was created."""
        draft, process, since = self._beside(), os.getpid(), time.strftime('%Y-%m-%d %H:%M:%S')
        holder = dict(process=process, host=socket.gethostname(), since=since, began=_began(process))
        draft.write_text(json.dumps(holder) + '\n')
        try:
            self._copy_from(draft)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _copy_from(self, file: Path) -> None:
        """Make the lock a copy of a file; unlike with a rename, it is an error if the lock exists."""
        try:
            os.link(file, self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with open(self.path, 'x') as lock:
                lock.write(file.read_text())

    def _dead_holder(self) -> Dict[str, Any]:
        """The holder of the lock, which has ended; raises ValueError if it is still running."""
        holder, age = _read(self.path), self._age()
        # Without POSIX, os.kill(process, 0) would end the process.
        here = os.name == 'posix' and holder.get('host') == socket.gethostname()
        if age is None or not (_is_running(holder) if here else age < SILENCE):
            return holder
        hint = '' if here else (f' If it has ended, its lock expires {SILENCE:.0f} s after its last sign of life, which was '
                                f'{age:.0f} s ago.')
        raise ValueError(f"{self.path.parent} is in use: process {holder.get('process')} on {holder.get('host')} has been "
                         f"working there since {holder.get('since')}. Wait for it to end, or give another --work-dir.{hint}")

    def _remove(self, holder: Dict[str, Any]) -> None:
        """Remove the lock of a holder, unless a faster run has removed it, and holds the lock by now."""
        aside = self._beside('.stale')
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        if _read(aside) != holder:
            with suppress(FileExistsError):
                self._copy_from(aside)
        aside.unlink(missing_ok=True)

    def _beside(self, suffix: str = '') -> Path:
        """The path of a file that no other process uses."""
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
            with suppress(OSError):  # a network file system may be away for a moment
                if self._is_held():
                    os.utime(self.path)

    def _is_held(self) -> bool:
        """Whether this process holds the lock."""
        holder = _read(self.path)
        return (holder.get('host'), holder.get('process')) == (socket.gethostname(), os.getpid())


def _read(path: Path) -> Dict[str, Any]:
    """The content of a lock; empty if it is damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _is_running(holder: Dict[str, Any]) -> bool:
    """Whether the process of this machine that took a lock is still running."""
    process = holder.get('process')
    if not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, but belongs to another user
        pass
    return holder.get('began') == _began(process)


def _began(process: int) -> Optional[int]:
    """When a process began, in clock ticks since boot, as process ids are reused; None if it ended or there is no /proc."""
    try:
        # The name of the program is in brackets, and may contain anything.
        fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else int(fields[19])
