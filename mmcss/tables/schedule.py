"""Runs that train one after another or side by side, each as a process of its own."""
from __future__ import annotations

import os
import queue
import signal
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from typing import Callable, Dict, List, Mapping, Sequence, Set

from .entries import Job

CONFIG, LOG, SECONDS = 'run.py', 'run.log', 'seconds.txt'
TAIL = 3  # lines of a log that tell why a run has failed


class Schedule:
    """Trains jobs, each after the one whose step 0 it takes, several at once.

    Args:
        command: What trains the config file whose name is put behind it,
            such as ``['mmcss', 'train']``.
        jobs: The jobs; those that others take step 0 from are among them.
        slots: Environment variables of what runs side by side, such as
            ``[{'CUDA_VISIBLE_DEVICES': '0'}, ...]``: as many runs at once.
        report: Called with a job and its error, '' where it went well, as
            soon as it has ended.
    """

    def __init__(self, command: Sequence[str], jobs: Sequence[Job], slots: Sequence[Mapping[str, str]],
                 report: Callable[[Job, str], None]) -> None:
        self.command = command
        self.jobs = {job.name: job for job in jobs}
        self.report = report
        self.failed: Set[str] = set()
        self._slots: queue.Queue[Mapping[str, str]] = queue.Queue()
        for slot in slots:
            self._slots.put(slot)
        self._number = len(slots)
        self._processes: List[subprocess.Popen[bytes]] = []
        self._stopped = False

    def run(self) -> List[str]:
        """Train all jobs; names of those that failed, or could not begin because their step 0 has failed."""
        sorter: TopologicalSorter[str] = TopologicalSorter(
            {name: [job.first_step] if job.first_step else [] for name, job in self.jobs.items()})
        sorter.prepare()
        running: Dict[Future[str], str] = {}
        with ThreadPoolExecutor(self._number) as pool:
            try:
                while sorter.is_active():
                    running.update({pool.submit(self._train, self.jobs[name]): name for name in sorter.get_ready()})
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        name, error = running.pop(future), future.result()
                        if error:
                            self.failed.add(name)
                        self.report(self.jobs[name], error)
                        sorter.done(name)
            except BaseException:
                self._stop()
                raise
        return sorted(self.failed)

    def _train(self, job: Job) -> str:
        """Train a job; why it failed, '' where it did not."""
        if self._stopped:
            return 'stopped'
        if job.first_step in self.failed:
            return f'the run {job.first_step}, whose step 0 it takes, has failed'
        slot = self._slots.get()
        try:
            return self._wait_for(job, slot)
        finally:
            self._slots.put(slot)

    def _wait_for(self, job: Job, slot: Mapping[str, str]) -> str:
        job.work_dir.mkdir(parents=True, exist_ok=True)
        begun, log = time.time(), job.work_dir / LOG
        with log.open('ab') as file:
            process = subprocess.Popen(self._command(job), stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **slot})
            self._processes.append(process)
            failed = process.wait()
        with (job.work_dir / SECONDS).open('a') as file_of_seconds:
            file_of_seconds.write(f'{time.time() - begun:.0f}\n')
        if not failed:
            return ''
        lines = log.read_text(errors='replace').splitlines()[-TAIL:]
        return '\n'.join([f'ended with {failed}; the last lines of {log}:', *(f'  {line}' for line in lines)])

    def _command(self, job: Job) -> List[str]:
        """Write the config of a job, and give the command that begins its run, goes on with it, or begins another one."""
        config = job.config.copy()
        if job.first_step is not None:
            config.merge_from_dict({'run.first_step_from': str(self.jobs[job.first_step].work_dir)})
        file, text = job.work_dir / CONFIG, config.pretty_text
        changed = file.is_file() and file.read_text() != text
        file.write_text(text)
        return [*self.command, str(file), '--overwrite' if changed else '--resume']

    def _stop(self) -> None:
        """End the processes that were started here."""
        self._stopped = True
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
