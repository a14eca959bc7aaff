"""What tools/train.py and tools/test.py share."""
from __future__ import annotations

import argparse
import os
from pathlib import Path

import mmcss  # noqa: F401  first: it makes `_base_ = ['mmseg::...']` work under both stacks
from mmengine.config import Config, DictAction


def common_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that both tools take, named as MMSegmentation's."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of checkpoints, logs and results (default: '
                        'work_dirs/<folder of the config>/<name of the config>)')
    parser.add_argument('--step', metavar='K|A-B', help='only this step or these steps')
    parser.add_argument('--skip-broken', action='store_true',
                        help="leave out images whose files can't be used, and list them")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override config entries, as key=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the options of the command line in it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    default = Path('work_dirs') / Path(args.config).resolve().parent.name / Path(args.config).stem
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(default)
    given = dict(steps=args.step, skip_broken=args.skip_broken or None,
                 **{key: getattr(args, key, None) for key in ('first_step_from', 'classes', 'overwrite', 'rehearsal')})
    cfg.run = dict(cfg.get('run', {}), **{key: value for key, value in given.items() if value is not None})
    return cfg


def with_mixed_precision(cfg: Config) -> None:
    """Have all steps train in mixed precision, also those that name their optimizer's wrapper again."""
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    for steps in ('first_step', 'next_steps'):
        wrapper = cfg.get(steps, {}).get('optim_wrapper', {})
        if 'type' in wrapper:
            wrapper.type = 'AmpOptimWrapper'
