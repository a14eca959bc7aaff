"""Train a table of experiments, and write the pages that show its results.

What is finished is skipped and what was stopped goes on, so the same command
may be given again and again. Methods that train step 0 alike share one.
"""
from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import mmcss  # noqa: F401  first: it makes `_base_ = ['mmseg::...']` work under both stacks
import torch
from mmcss.tables import (Entry, Job, Schedule, Table, entries_of, keep_result, kept_result, make_jobs, read_table,
                               write_pages)
from mmcss.tables.results import COLUMNS

TRAIN = [sys.executable, str(Path(__file__).resolve().parent / 'train.py')]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', help='YAML file, such as configs/tables/voc12.yaml')
    parser.add_argument('--only', type=_names, metavar='ROW,ROW', help='these rows alone')
    parser.add_argument('--scenarios', type=_names, metavar='NAME,NAME', help='these scenarios alone')
    parser.add_argument('--seeds', type=_numbers, metavar='K,K', help='these seeds alone')
    parser.add_argument('--jobs', type=int, metavar='N',
                        help='how many runs at once (default: one on each GPU; without any, one for each two cores)')
    parser.add_argument('--pages', action='store_true', help='train nothing; write the pages from the results that are kept')
    parser.add_argument('--dry-run', action='store_true', help='print which runs are left, and do nothing')
    args = parser.parse_args()
    failed: List[str] = []
    try:
        table = read_table(args.table)
        entries = entries_of(table, args.only, args.seeds, args.scenarios)
        jobs = [] if args.pages else left_jobs(table, entries)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if args.dry_run:
        print(f'{len(entries)} entries of {table.name}; {len(jobs)} runs are left, those of shared steps 0 included:')
        print('\n'.join(f'  {job.name}{f", step 0 of {job.first_step}" if job.first_step else ""}' for job in jobs))
        return
    if jobs:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped; the same command goes on'))
        failed = Schedule(TRAIN, jobs, slots(args.jobs), Reporter(table, len(jobs))).run()
    for file in write_pages(table, entries_of(table)):
        print(f'wrote {file}')
    if failed:
        sys.exit(f'{len(failed)} of {len(jobs)} runs failed: {", ".join(failed)}')


def _names(text: str) -> List[str]:
    return text.split(',')


def _numbers(text: str) -> List[int]:
    return [int(number) for number in text.split(',')]


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
            means = {name: result['steps'][-1].get(key) for name, key in COLUMNS.items()}
            text = ', '.join(f'{name} {value:.1f}' for name, value in means.items() if value is not None)
        print(f'[{self.ended}/{self.number}, {(time.time() - self.begun) / 60:.0f} min] {job.name}: {text}', flush=True)


if __name__ == '__main__':
    main()
