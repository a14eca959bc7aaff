"""Runs in processes of their own, which can be killed whole."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Callable, List, Optional

from _soak_runs import TOOLS

MARK = 'MMCSS_SOAK_RUN'
LONGEST = 600  # seconds that a run of seconds may take


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Training:
    """A call of tools/train.py, or of tools/dist_train.sh for several processes.

    Args:
        config: The config file.
        log: File to which its output is appended.
        options: Of tools/train.py.
        processes: How many.
    """

    def __init__(self, config: Path, log: Path, *options: str, processes: int = 1) -> None:
        command = [sys.executable, str(TOOLS / 'train.py'), str(config)]
        if processes > 1:
            command = ['bash', str(TOOLS / 'dist_train.sh'), str(config), str(processes)]
        self.mark = uuid.uuid4().hex
        paths = os.pathsep.join([str(TOOLS.parent), os.environ.get('PYTHONPATH', '')])
        environment = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=paths, PYTHONWARNINGS='ignore',
                           OMP_NUM_THREADS='1', PORT=str(free_port()), **{MARK: self.mark})
        self.log = log
        self.begin = log.stat().st_size if log.exists() else 0
        with log.open('a') as out:
            self.process = subprocess.Popen([*command, *options], stdout=out, stderr=subprocess.STDOUT,
                                            env=environment, start_new_session=True)
        self.started = time.monotonic()

    def wait(self, seconds: float = LONGEST) -> Optional[int]:
        """The exit status, None if it still runs after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Whether something has come true while it runs."""
        while time.monotonic() - self.started < LONGEST:
            if condition():
                return True
            if self.process.poll() is not None:
                return condition()
            time.sleep(0.05)
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL for it and all that it has started: torchrun's workers have sessions of their own."""
        self.send(signal.SIGKILL)
        self.process.wait()
        while True:
            left = self._processes()
            if not left:
                return
            for number in left:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)

    def _processes(self) -> List[int]:
        """Processes with the mark of this call in their environment."""
        mark, numbers = f'{MARK}={self.mark}'.encode(), []
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                if mark in (folder / 'environ').read_bytes().split(b'\0'):
                    numbers.append(int(folder.name))
            except OSError:  # it has ended, or is of another user
                continue
        return numbers

    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors='replace')[self.begin:]

    def error(self) -> str:
        """The line of its error, or its last one."""
        lines = [line.strip() for line in self.output().splitlines() if line.strip()]
        errors = [line for line in lines if 'Error' in line.split(':')[0]]
        return (errors or lines or ['no output'])[-1]


def ended(training: Training) -> List[str]:
    """Wait for a run that has to end well: what is wrong with how it ended."""
    status = training.wait()
    if status == 0:
        return []
    if status is None:
        training.kill()
        return [f'it was still running after {LONGEST} s']
    return [f'it ended with {status}: {training.error()}']
