"""Check a tree of images and label maps before a run: no model, no training.

Prints what training and test data hold: files, sizes, images of each class and
of each step of the scenario. Ends with what there is to mend, and exit status
1 if there is anything.
"""
from __future__ import annotations

import argparse
import warnings

from mmengine.registry import init_default_scope

from ..checks import DataChecker
from .config_options import add_config, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The config, and how closely its images are looked at."""
    add_config(parser)
    parser.add_argument('--images', action='store_true',
                        help='decode all images too, and compare their sizes with those of the label maps')


def run(args: argparse.Namespace) -> int:
    """Print the tables and what there is to mend; 1 if there is anything."""
    warnings.simplefilter('ignore')
    init_default_scope('mmseg')
    checker = DataChecker(read_config(args.config, args), args.images)
    checker.run()
    print('\n'.join(table.get_string() for table in checker.tables))
    problems = list(dict.fromkeys(checker.problems))  # train and test data may share a folder
    if problems:
        print(f'\nwhat to mend ({len(problems)}):\n' + '\n'.join(f'- {problem}.' for problem in problems))
        return 1
    print('\nnothing to mend')
    return 0
