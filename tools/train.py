"""Train and evaluate the steps of a scenario."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import mmcss  # noqa: F401  first: it makes `_base_ = ['mmseg::...']` work under both stacks
import torch
import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmcss.engine import ContinualRunner


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of checkpoints, logs and results (default: work_dirs/<config>)')
    parser.add_argument('--step', help='train step K or steps A-B only')
    parser.add_argument('--resume', action='store_true',
                        help='skip finished steps, and go on with the one that was stopped')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision, on GPUs')
    parser.add_argument('--first-step-from', metavar='DIR_OR_CKPT',
                        help='take step 0 from another work_dir or hand-over file')
    parser.add_argument('--dry-run', action='store_true', help='print what would be done, and do nothing')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override config entries, as key=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the options of the command line in it."""
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).parent.name / Path(args.config).stem)
    return cfg


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args)
    cfg.resume = args.resume
    cfg.run = dict(steps=args.step, first_step_from=args.first_step_from)
    if args.amp:
        if not torch.cuda.is_available():
            sys.exit('--amp needs a GPU: mixed precision is of no use on this machine. Run again without it.')
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale=cfg.optim_wrapper.get('loss_scale', 'dynamic'))
    runner = ContinualRunner.from_cfg(cfg)
    if args.dry_run:
        print(runner.describe())
    else:
        runner.train()
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == '__main__':
    main()
