"""Check on this machine's GPU what no CPU can show: mixed precision, NCCL, SyncBN, resume, memory and speed.

    mmcss check-gpu                  # 9 minutes on one GPU
    mmcss check-gpu --only precision speed
    mmcss check-gpu --device cpu     # the same runs without a GPU, to try the check itself

It makes its own data, trains methods through a tiny scenario, prints a table in
Markdown, and ends with 1 if anything has failed. Losses have to be finite,
results in half precision near those in float32, and a run that was stopped and
resumed has to equal one that was not.
"""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from prettytable import PrettyTable, TableStyle

from ..checks import FAILED, PARTS, GPUCheck, Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which parts of the check, where, and for how long."""
    parser.add_argument('--only', nargs='+', choices=PARTS, default=list(PARTS), metavar='PART', help=', '.join(PARTS))
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    parser.add_argument('--seconds', type=float, default=540, help='time for all; what it cuts off has failed (default: 540)')
    parser.add_argument('--epochs', type=int, default=4, help='of each step (default: 4)')
    parser.add_argument('--keep', type=Path, metavar='DIR', help='work in this new folder, and leave it')


def run(args: argparse.Namespace) -> int:
    """Run the parts and print the table; 1 if anything has failed."""
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise argparse.ArgumentError(None, 'torch sees no GPU here. Install its build for CUDA, or try the check itself with '
                                     '--device cpu.')
    if args.keep is not None and args.keep.exists():
        raise argparse.ArgumentError(None, f'--keep: {args.keep} is there; give a new folder')
    with tempfile.TemporaryDirectory() as temporary:
        root = args.keep or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        check = GPUCheck(root, args.device, args.seconds, args.epochs)
        rows = [row for part in args.only for row in PARTS[part](check)]
    print(f'{torch.cuda.get_device_name() if check.cuda else "CPU"}, torch {torch.__version__}')
    table = PrettyTable(Row._fields, align='l')
    table.set_style(TableStyle.MARKDOWN)
    table.add_rows(rows)
    print(table)
    return int(any(row.outcome == FAILED for row in rows))
