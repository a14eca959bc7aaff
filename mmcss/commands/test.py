"""Evaluate the trained steps of a run again, and write its results.

With --tta these are results_tta.json and step_k/result_tta.json; the ordinary
ones stay as they are.
"""
from __future__ import annotations

import argparse
import sys

import torch.distributed as dist

from ..engine import AugmentedTest, ContinualRunner
from ..engine.config_nodes import walk
from .config_options import add_run, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a test."""
    add_run(parser)
    parser.add_argument('--show-dir', help='folder for painted predictions, one below it for each step')
    parser.add_argument('--tta', action='store_true',
                        help='test-time augmentation, by tta_model and tta_pipeline of the config')


def run(args: argparse.Namespace) -> None:
    """Test the steps."""
    runner = (AugmentedTest if args.tta else ContinualRunner).from_cfg(load_config(args))
    if args.show_dir:
        pipeline = runner.configs[0].tta_pipeline if args.tta else runner.configs[0].test_dataloader.dataset
        if any(node.get('type') == 'ScoreAsResized' for node in walk(pipeline)):
            sys.exit("--show-dir paints whole images, and this config's tests cut them (ScoreAsResized). Give it a "
                     "config with MMSegmentation's test pipeline.")
        for step, config in enumerate(runner.configs):
            config.visualizer.save_dir = f'{args.show_dir}/step_{step}'
            config.default_hooks.visualization = dict(type='SegVisualizationHook', draw=True, interval=1)
    runner.test()
    if dist.is_initialized():
        dist.destroy_process_group()
