"""The options of commands and tools that take an experiment's config."""
from __future__ import annotations

import argparse
import os

from mmengine.config import Config, DictAction

from ..engine import compose
from ..engine.profiles import PROFILES


def add_config(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Let a command take an experiment's config, or several, and what is to be exchanged in it."""
    parser.add_argument('configs' if several else 'config', nargs='+' if several else None,
                        help="config file; of those that mmcss brings along, 'mmcss::' and its place in configs")
    parser.add_argument('--scenario', metavar='NAME|FILE',
                        help='another scenario: a file of configs/_base_/scenarios by its name, or the path of a file')
    parser.add_argument('--model', metavar='NAME|FILE', help='another model, of configs/_base_/models')
    parser.add_argument('--profile', choices=PROFILES, help="the paper's method or that of its released code")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override config entries, as key=value')


def read_config(path: str, args: argparse.Namespace) -> Config:
    """A config with what the options of :func:`add_config` exchange and override."""
    cfg = compose(path, args.scenario, args.model, args.profile)
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def add_run(parser: argparse.ArgumentParser) -> None:
    """Let a command take a config, and the options of training and testing, named as MMSegmentation's."""
    add_config(parser)
    parser.add_argument('--work-dir', help='folder of checkpoints, logs and results (default: '
                        'work_dirs/<folder of the config>/<name of the config>, with the scenario and model given here in it)')
    parser.add_argument('--step', metavar='K|A-B', help='only this step or these steps')
    parser.add_argument('--skip-broken', action='store_true',
                        help="leave out images whose files can't be used, and list them")
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the options of the command line in it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    options = dict(steps=args.step, skip_broken=args.skip_broken or None,
                   **{key: getattr(args, key, None) for key in ('first_step_from', 'classes', 'overwrite', 'rehearsal')})
    cfg.run = dict(cfg.get('run', {}), **{key: value for key, value in options.items() if value is not None})
    return cfg


def with_mixed_precision(cfg: Config) -> None:
    """Have all steps train in mixed precision, also those that name their optimizer's wrapper again."""
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    for steps in ('first_step', 'next_steps'):
        wrapper = cfg.get(steps, {}).get('optim_wrapper', {})
        if 'type' in wrapper:
            wrapper.type = 'AmpOptimWrapper'
