"""Check for many minutes that runs are reliable: killed, damaged, out of disk, locked, attacked, long.

    python tools/soak.py all             # 20 to 30 minutes on two idle cores
    python tools/soak.py all --quick     # 3 minutes: a few cases of each part
    python tools/soak.py kills --kills 36 --methods plop --processes 2

It makes its own data and runs, prints a table in Markdown, and ends with 1 if
anything has failed. What each part shows: docs/reliability.md.
"""
from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from mmcss.checks import FAILED, NOT_RUN, Row, judged
from _soak_damage import damage, hostile
from _soak_disk import disk, nan
from _soak_growth import growth
from _soak_kills import METHODS, kills, lock

QUICK = dict(kills=3, steps=16)
LONG = dict(kills=36, steps=40)


def parts(args: argparse.Namespace) -> Dict[str, Callable[[Path], List[Row]]]:
    """Each part of the check: a function of an empty folder. Growth comes first, in a process that has done nothing."""
    return dict(
        growth=lambda root: growth(root, args.steps),
        kills=lambda root: kills(root, args.kills, args.seed, args.methods, args.processes),
        damage=lambda root: damage(root, args.quick),
        disk=lambda root: disk(root, args.quick),
        hostile=hostile,
        nan=nan,
        lock=lambda root: lock(root, args.quick))


PARTS = ('growth', 'kills', 'damage', 'disk', 'hostile', 'nan', 'lock')


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='+', choices=[*PARTS, 'all'], metavar='PART', help=', '.join([*PARTS, 'all']))
    parser.add_argument('--quick', action='store_true', help='a few cases of each part')
    parser.add_argument('--kills', type=int, help=f'number of kills in total (default: {LONG["kills"]}, or {QUICK["kills"]})')
    parser.add_argument('--steps', type=int, help=f'steps of the long run (default: {LONG["steps"]}, or {QUICK["steps"]})')
    parser.add_argument('--seed', type=int, default=0, help='of the times of the kills (default: 0)')
    parser.add_argument('--methods', nargs='+', choices=METHODS, help='that are killed (default: all; quick: plop)')
    parser.add_argument('--processes', nargs='+', type=int, help='of the runs that are killed (default: 1 2; quick: 1)')
    parser.add_argument('--keep', type=Path, metavar='DIR', help='work in this new folder, and leave it')
    args = parser.parse_args(arguments)
    numbers = QUICK if args.quick else LONG
    args.kills = numbers['kills'] if args.kills is None else args.kills
    args.steps = numbers['steps'] if args.steps is None else args.steps
    args.methods = args.methods or list(METHODS[:1] if args.quick else METHODS)
    args.processes = args.processes or ([1] if args.quick else [1, 2])
    if args.steps < QUICK['steps']:
        parser.error(f'--steps: got {args.steps}; the last five are compared with steps 6 to 10, so give {QUICK["steps"]} at '
                     'least.')
    if args.kills < 1 or min(args.processes) < 1:
        parser.error('--kills and --processes: give 1 at least.')
    return args


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    cells = [('part', 'case', 'outcome', 'note'), ('---', ) * 4, *rows]
    return '\n'.join('| ' + ' | '.join(str(cell).replace('|', '\\|').replace('\n', ' ') for cell in row) + ' |' for row in cells)


def run_part(name: str, part: Callable[[Path], List[Row]], root: Path) -> List[Row]:
    """Do a part in a folder and cache of its own; one that breaks down has failed."""
    folder = root / name
    folder.mkdir()
    os.environ['MMCSS_CACHE'] = str(folder / 'cache')
    start = time.time()
    try:
        rows = part(folder)
    except Exception as error:  # the other parts are still to be seen
        rows = [judged(name, 'the check itself', [f'{type(error).__name__}: {error}'])]
    print(f'{name}: {time.time() - start:.0f} s', file=sys.stderr, flush=True)
    return rows


def main(arguments: Optional[Sequence[str]] = None) -> int:
    args = parse(arguments)
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    if args.keep:
        args.keep.mkdir(parents=True)
    root = args.keep.resolve() if args.keep else Path(tempfile.mkdtemp(prefix='mmcss_soak_'))
    try:
        chosen = {name: part for name, part in parts(args).items() if {name, 'all'} & set(args.parts)}
        rows = [row for name, part in chosen.items() for row in run_part(name, part, root)]
    finally:
        if not args.keep:
            shutil.rmtree(root, ignore_errors=True)
    print(table(rows))
    count = {outcome: sum(row.outcome == outcome for row in rows) for outcome in (FAILED, NOT_RUN)}
    print(f'\n{len(rows)} cases: {count[FAILED]} failed, {count[NOT_RUN]} not run.')
    return int(count[FAILED] > 0)


if __name__ == '__main__':
    sys.exit(main())
