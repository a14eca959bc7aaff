"""What is left to train of a table, how many runs at once, and what becomes of each that has ended."""
from __future__ import annotations

import os
import time
from typing import Dict, List, Optional, Sequence

import torch

from ..evaluation import means_text
from .entries import Job, make_jobs
from .results import keep_result, kept_result
from .table import Entry, Table, entries_of


def left_jobs(table: Table, entries: Sequence[Entry]) -> List[Job]:
    """The runs of entries that have no result of their config, and those that they take step 0 from."""
    jobs = make_jobs(table, entries, entries_of(table))
    left = [job for job in jobs if job.entry and not kept_result(table, job.entry, job.digest)]
    shared = {job.first_step for job in left}
    return [job for job in jobs if job.name in shared] + left


def slots(number: Optional[int]) -> List[Dict[str, str]]:
    """Environment variables of the runs that train side by side."""
    devices, cores = torch.cuda.device_count(), len(os.sched_getaffinity(0))
    number = number or devices or max(1, cores // 2)
    threads = dict(OMP_NUM_THREADS=str(max(1, cores // number)))
    return [dict(threads, **({'CUDA_VISIBLE_DEVICES': str(slot % devices)} if devices else {})) for slot in range(number)]


class Reporter:
    """Keeps the result of each run that has ended, and prints a line."""

    def __init__(self, table: Table, number: int) -> None:
        self.table, self.number, self.ended, self.begun = table, number, 0, time.time()

    def __call__(self, job: Job, error: str) -> None:
        self.ended += 1
        text = error or 'trained'
        if job.entry is not None and not error:
            result = keep_result(self.table, job, job.entry)
            text = means_text(result['steps'][-1])
        print(f'[{self.ended}/{self.number}, {(time.time() - self.begun) / 60:.0f} min] {job.name}: {text}', flush=True)
