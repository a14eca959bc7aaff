"""Runs that are killed at random times and go on, and runs that share a folder."""
from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path
from typing import Dict, List, Sequence

from mmcss.checks import Row, judged
from mmengine.config import Config

from _soak_processes import Training, ended
from _soak_runs import differences, hand_overs, make_config, write_data

METHODS = ('plop', 'ssul_m', 'online_em')
KILLS_OF_A_RUN = 3


def kills(root: Path, number: int, seed: int, methods: Sequence[str] = METHODS,
          processes: Sequence[int] = (1, 2)) -> List[Row]:
    """Kill runs of each method and number of processes, and compare them with one that was left alone.

    Args:
        root: An empty folder.
        number: Kills in total.
        seed: Of the times at which they come.
        methods: Some of :data:`METHODS`.
        processes: Numbers of processes.
    """
    data, rows = write_data(root / 'data'), []
    kinds = [(method, count) for method in methods for count in processes]
    for index, (method, count) in enumerate(kinds):
        folder = root / f'{method}_{count}'
        folder.mkdir()
        share = number // len(kinds) + (index < number % len(kinds))
        rows.append(_killed_runs(data, folder, method, count, share, random.Random(f'{seed} {method} {count}')))
    return rows


def _killed_runs(data: Path, folder: Path, method: str, processes: int, number: int, chance: random.Random) -> Row:
    case = f'{method}, {processes} process{"es" if processes > 1 else ""}'
    config = make_config(data, folder / 'reference', method)
    config.dump(str(folder / 'reference.py'))
    whole = Training(folder / 'reference.py', folder / 'reference.log', processes=processes)
    whole.wait_for((folder / 'reference' / 'step_0').exists)
    start = time.monotonic() - whole.started
    faults = ended(whole)
    if faults:
        return judged('kills', case, [f'the run that was left alone: {fault}' for fault in faults])
    duration = time.monotonic() - whole.started
    # No earlier: until then Python imports.
    runs, done = 0, 0
    while done < number and not faults:
        killed = KilledRun(config, folder, f'run_{runs}', processes)
        while done < number and killed.count < KILLS_OF_A_RUN and killed.kill_after(chance.uniform(0.7 * start, duration)):
            done += 1
        faults = killed.finish(folder / 'reference')
        runs += 1
    return judged('kills', case, faults, f'{done} kills of {runs} runs, each of which took {duration:.0f} s: all equal')


class KilledRun:
    """One run that is killed and started again.

    Args:
        config: The config of the run that it has to equal.
        folder: Where its work_dir, config and log lie.
        name: What these are called.
        processes: How many.
    """

    def __init__(self, config: Config, folder: Path, name: str, processes: int) -> None:
        self.work_dir, self.config, self.log = folder / name, folder / f'{name}.py', folder / f'{name}.log'
        self.processes = processes
        changed = config.copy()
        changed.work_dir = str(self.work_dir)
        changed.dump(str(self.config))
        self.count = 0
        self.times: List[str] = []
        self.finished: Dict[str, str] = {}
        self.faults: List[str] = []

    def kill_after(self, seconds: float) -> bool:
        """Start or go on, and kill it then; False if it had ended before, or if something is wrong already."""
        training = self._start()
        status = training.wait(seconds)
        if status is not None:
            self.faults += [] if status == 0 else [f'it ended with {status}: {training.error()}']
            return False
        training.kill()
        self.count += 1
        self.times.append(f'{seconds:.1f}')
        self._check_hand_overs()
        return not self.faults

    def finish(self, reference: Path) -> List[str]:
        """Let it come to its end: what is wrong with it."""
        if not self.faults:
            self.faults += ended(self._start())
            self._check_hand_overs()
            self.faults += differences(reference, self.work_dir)
            self.faults += [f'{path.name} has stayed' for path in self.work_dir.rglob('*.partial')]
        if not self.faults:
            shutil.rmtree(self.work_dir)
        return [f'killed after {", ".join(self.times)} s: {fault}; see {self.log}' for fault in self.faults]

    def _start(self) -> Training:
        return Training(self.config, self.log, '--resume', processes=self.processes)

    def _check_hand_overs(self) -> None:
        """Note the finished steps; those noted before must be unchanged."""
        finished = hand_overs(self.work_dir)
        self.faults += [f'{name} has {"changed" if name in finished else "disappeared"}'
                        for name, digest in self.finished.items() if finished.get(name) != digest]
        self.finished = finished


def lock(root: Path, quick: bool = False) -> List[Row]:
    """Two runs in one folder, and a lock that a killed run has left.

    Args:
        root: An empty folder.
        quick: One kind of second run only.
    """
    data = write_data(root / 'data')
    config = make_config(data, root / 'reference')
    config.dump(str(root / 'reference.py'))
    faults = ended(Training(root / 'reference.py', root / 'reference.log'))
    if faults:
        return [judged('lock', 'the run to compare with', faults)]
    kinds = [['--resume'], [], ['--overwrite']][:1 if quick else None]
    return [*(_second_run(config, root, options) for options in kinds), _stale_lock(config, root)]


def _second_run(config: Config, root: Path, options: List[str]) -> Row:
    """A second run while the first one is at work."""
    case = ' '.join(['second run', *options])
    work_dir = root / case.replace(' ', '_')
    path = root / f'{work_dir.name}.py'
    config = config.copy()
    config.work_dir = str(work_dir)
    config.dump(str(path))
    first = Training(path, path.with_suffix('.log'))
    first.wait_for((work_dir / 'step_0').exists)
    # Or it may be over before the second one has imported all that it needs.
    first.send(signal.SIGSTOP)
    second, faults = Training(path, path.with_suffix('.second.log'), *options), []
    status = second.wait()
    first.send(signal.SIGCONT)
    if status in (0, None):
        second.kill()
        faults.append('the second run was not refused')
    elif work_dir.name not in second.error():
        faults.append(f'the second run does not name the folder: {second.error()}')
    faults += ended(first) + differences(root / 'reference', work_dir)
    return judged('lock', case, faults, f'refused: {second.error()[:100]}')


def _stale_lock(config: Config, root: Path) -> Row:
    killed = KilledRun(config, root, 'killed', 1)
    training = killed._start()
    training.wait_for((killed.work_dir / 'step_0' / 'step_0.pth').exists)
    training.kill()
    begin = time.monotonic()
    faults = killed.finish(root / 'reference')
    return judged('lock', 'killed, and --resume at once', faults, f'went on and ended after {time.monotonic() - begin:.0f} s')
