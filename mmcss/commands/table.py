"""Train a table of experiments, and write the pages that show its results.

What is finished is skipped and what was stopped goes on, so the same command
may be given again and again. Methods that train step 0 alike share one.
"""
from __future__ import annotations

import argparse
import signal
import sys
from typing import List

from ..tables import Reporter, Schedule, entries_of, left_jobs, read_table, slots, write_pages

TRAIN = [sys.executable, '-m', 'mmcss', 'train']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The table, and which runs of it."""
    parser.add_argument('table', help='YAML file, such as configs/tables/voc12.yaml')
    parser.add_argument('--only', type=_names, metavar='ROW,ROW', help='these rows alone')
    parser.add_argument('--scenarios', type=_names, metavar='NAME,NAME', help='these scenarios alone')
    parser.add_argument('--seeds', type=_numbers, metavar='K,K', help='these seeds alone')
    parser.add_argument('--jobs', type=int, metavar='N',
                        help='how many runs at once (default: one on each GPU; without any, one for each two cores)')
    parser.add_argument('--pages', action='store_true', help='train nothing; write the pages from the results that are kept')
    parser.add_argument('--dry-run', action='store_true', help='print which runs are left, and do nothing')


def run(args: argparse.Namespace) -> None:
    """Train what is left, and write the pages."""
    failed: List[str] = []
    try:
        table = read_table(args.table)
        entries = entries_of(table, args.only, args.seeds, args.scenarios)
        jobs = [] if args.pages else left_jobs(table, entries)
    except (ValueError, FileNotFoundError) as error:
        raise argparse.ArgumentError(None, str(error)) from error
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
