"""Train and evaluate the steps of a scenario."""
from __future__ import annotations

import argparse
import sys

import torch
import torch.distributed as dist

from ..engine import ContinualRunner
from .config_options import add_run, load_config, with_mixed_precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a training."""
    add_training(parser)
    parser.add_argument('--dry-run', action='store_true', help='print what would be done, and do nothing (mmcss plan)')


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options that tell what is trained, and how."""
    add_run(parser)
    begun = parser.add_mutually_exclusive_group()
    begun.add_argument('--resume', action='store_true',
                       help='skip finished steps, and go on with the one that was stopped')
    begun.add_argument('--overwrite', action='store_true', default=None,
                       help='train steps that are finished anew; the old ones are moved to replaced/ in the work_dir')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision, on GPUs')
    parser.add_argument('--first-step-from', metavar='DIR_OR_CKPT',
                        help='take step 0 from another work_dir or hand-over file, or from a checkpoint of MMSegmentation')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help='the classes of that checkpoint in the order of its channels, or a file with one a line; only '
                        'where it does not say them')
    parser.add_argument('--no-rehearsal', dest='rehearsal', action='store_false', default=None,
                        help='begin without trying all steps in miniature')


def run(args: argparse.Namespace) -> None:
    """Train, or print the plan."""
    cfg = load_config(args)
    cfg.resume = args.resume
    if args.amp:
        if not torch.cuda.is_available():
            sys.exit('--amp needs a GPU, and there is none here. Run again without --amp.')
        with_mixed_precision(cfg)
    runner = ContinualRunner.from_cfg(cfg)
    if args.dry_run:
        print(runner.describe())
    else:
        runner.train()
    if dist.is_initialized():
        dist.destroy_process_group()
