"""Write a page about runs that opens in any browser, without a network, and its tables as Markdown and CSV."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional, Tuple

from ..report import write_report

NamedDir = Tuple[Optional[str], Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument('runs', nargs='+', type=named_dir, metavar='[NAME=]WORK_DIR',
                        help="a run's work_dir, and a name for it; runs of one name are of one method (seeds, class orders)")
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder to write to (default: report in the work_dir; of several runs, report here)')
    parser.add_argument('--images', type=int, default=0, metavar='N',
                        help='show N test images with what each step predicts for them (default: 0)')
    parser.add_argument('--device', default='cpu', help='where the models predict them (default: cpu)')


def run(args: argparse.Namespace) -> None:
    """Write the page, and print its path."""
    out = args.out or (args.runs[0][1] if len(args.runs) == 1 else Path()) / 'report'
    try:
        print(write_report(args.runs, out, args.images, args.device))
    except (OSError, ValueError) as error:
        raise SystemExit(f'mmcss report: {error}') from error


def named_dir(text: str) -> NamedDir:
    """``NAME=WORK_DIR`` or ``WORK_DIR``; a folder whose path has a '=' needs no name."""
    name, _, work_dir = text.partition('=')
    if not work_dir or Path(text).is_dir():
        return None, Path(text)
    return name or None, Path(work_dir)
