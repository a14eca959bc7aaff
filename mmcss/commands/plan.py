"""Print what a training would do with each step, and try all steps in miniature. It writes nothing."""
from __future__ import annotations

import argparse

from . import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the training that is planned."""
    train.add_training(parser)
    parser.set_defaults(dry_run=True)


def run(args: argparse.Namespace) -> None:
    """Print the plan."""
    train.run(args)
