"""Python processes for tests, without the seconds that importing takes.

They are forks of one that has imported torch, MMSegmentation and mmcss and has done nothing else. What has to be shown
of a fresh interpreter, such as that a tool imports what it needs, is not shown by these.
"""
from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Callable, List, Mapping

IMPORTED = ['mmcss.engine', 'mmcss.visualization', 'mmseg.apis']
STREAMS = {'stdout': 1, 'stderr': 2}


@dataclass(frozen=True)
class Ended:
    """What a process has left, as :func:`subprocess.run` tells it."""

    returncode: int
    stdout: str
    stderr: str


def call(script: Path, *arguments: Any) -> Ended:
    """Run a script as ``python SCRIPT ARGUMENTS``."""
    return _run([dict(os.environ)], run_script, str(script), *map(str, arguments))[0]


def call_together(script: Path, *arguments: Any, number: int = 2) -> str:
    """Run a script in some processes of one group, as torch's launcher does, and return what they say."""
    ended = _run(_members(number), run_script, str(script), *map(str, arguments))
    return ''.join(one.stdout for one in _all_well(ended))


def spawn(function: Callable[..., None], *arguments: Any, number: int = 2) -> None:
    """Call a function of a module with each process's number and the arguments, as torch's spawn does."""
    _all_well(_run(_members(number), call_with_rank, function, *arguments))


def run_script(script: str, *arguments: str) -> None:
    """What a process of :func:`call` does."""
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name='__main__')


def call_with_rank(function: Callable[..., None], *arguments: Any) -> None:
    """What a process of :func:`spawn` does."""
    function(int(os.environ['RANK']), *arguments)


def free_port() -> int:
    """A port of this machine that nothing listens on: tests run side by side."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _members(number: int) -> List[Mapping[str, str]]:
    """The environment of each process of a group."""
    shared = dict(os.environ, WORLD_SIZE=str(number), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    return [dict(shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(number)]


def _all_well(ended: List[Ended]) -> List[Ended]:
    assert not any(one.returncode for one in ended), '\n'.join(one.stdout[-3000:] + one.stderr[-3000:] for one in ended)
    return ended


def _run(environments: List[Mapping[str, str]], function: Callable[..., None], *arguments: Any) -> List[Ended]:
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        processes = [context.Process(target=_enter, args=(environment, f'{folder}/{i}', function, arguments))
                     for i, environment in enumerate(environments)]
        for process in processes:
            process.start()
        waiting = {process.sentinel: process for process in processes}
        while waiting:
            for sentinel in wait(list(waiting)):
                process = waiting.pop(sentinel)
                process.join()
                if process.exitcode:  # the others may wait for it for ever
                    for other in waiting.values():
                        other.kill()
        said = [{name: Path(f'{folder}/{i}.{name}').read_text() for name in STREAMS} for i in range(len(processes))]
    return [Ended(process.exitcode, **texts) for process, texts in zip(processes, said)]


def _enter(environment: Mapping[str, str], said: str, function: Callable[..., None], arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for name, number in STREAMS.items():
        os.dup2(os.open(f'{said}.{name}', os.O_WRONLY | os.O_CREAT), number)
    function(*arguments)
