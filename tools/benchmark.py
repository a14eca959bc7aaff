"""What a method's training step costs, against plain fine-tuning and its teacher.

Prints, for each method's config, the time of a training step divided by that
of the stock model alone (forward and backward pass: a plain fine-tuning step),
and by that and the teacher's forward pass without gradient together. All are
measured in turn in one process on random images, so that the ratio does not
depend on the machine's mood.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List

import torch
from mmcss.commands.config_options import add_config, read_config
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmcss.engine import build_scenario, step_config
from mmcss.engine.folders import StepFolder
from mmcss.engine.config_nodes import with_settings
from mmcss.models import save_hand_over
from mmcss.scenario import Split
from prettytable import PrettyTable
from torch import nn

from _random_step import prepare, random_batch, train


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser, several=True)
    parser.add_argument('--size', type=int, nargs='+', default=[128], help='height and width of the images')
    parser.add_argument('--batch', type=int, default=8, help='images a batch')
    parser.add_argument('--repeats', type=int, default=20, help='times each is measured')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


def build(cfg: Config, folder: str, device: str, batch: Callable[[Split], Dict]) -> nn.Module:
    """The student of a config's step 1, with a teacher of random weights, ready to train."""
    cfg.work_dir = folder
    scenario = build_scenario(cfg)
    old, config = (step_config(cfg, scenario, step) for step in (0, 1))
    old = revert_sync_batchnorm(MODELS.build(old.model)).to(device).eval()
    hand_over = StepFolder(folder, 0).hand_over
    hand_over.parent.mkdir(parents=True, exist_ok=True)
    save_hand_over(hand_over, old.state_dict(), dict(classes=list(scenario[0].seen)))
    model = revert_sync_batchnorm(MODELS.build(config.model)).to(device).train()
    prepare(model, old, batch)
    return model


def step_functions(model: nn.Module, plain: nn.Module, data: Dict) -> Dict[str, Callable[[], None]]:
    """The method's step, plain fine-tuning's, and the teacher alone."""
    def step(model: nn.Module) -> None:
        train(model, data)
        model.zero_grad()

    functions = dict(step=lambda: step(model), plain=lambda: step(plain))
    if model.teacher is not None:
        teacher = model.teacher.build(data['inputs'].device)
        metas = [dict(img_shape=tuple(data['inputs'].shape[2:]))] * len(data['inputs'])

        def forward() -> None:
            with torch.no_grad():
                teacher.encode_decode(data['inputs'], metas)

        functions['teacher'] = forward
    return functions


def measure(functions: Dict[str, Callable[[], None]], repeats: int, device: str) -> Dict[str, List[float]]:
    """Seconds of each function, measured in turn."""
    seconds: Dict[str, List[float]] = {name: [] for name in functions}
    for number in range(repeats + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if device.startswith('cuda'):
                torch.cuda.synchronize()
            if number >= 2:  # the first rounds warm up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    args = parse_args()
    init_default_scope('mmseg')
    height, width = args.size[0], args.size[-1]
    table = PrettyTable(['config', 'plain', 'teacher', 'step', 'step / plain', 'step / (plain + teacher)'], align='r')
    table.align['config'] = 'l'

    def batch(split: Split) -> Dict:
        return random_batch(args.batch, height, width, split, args.device)

    for config in args.configs:
        cfg = read_config(config, args)
        if len(build_scenario(cfg)) < 2:
            sys.exit(f'{config} has one step alone, and step 1 is measured.')
        plain = with_settings(cfg, dict(cfg._cfg_dict.to_dict(), continual={}, official={}))
        with tempfile.TemporaryDirectory() as folder:
            model, plain = (build(config, f'{folder}/{name}', args.device, batch)
                            for name, config in (('method', cfg), ('plain', plain)))
            seconds = measure(step_functions(model, plain, batch(model.split)), args.repeats, args.device)
        # The ratio of each round, then the median: load that comes and goes hits a whole round.
        teacher = seconds.get('teacher', [0.0] * args.repeats)
        ratios = [statistics.median(step / parts for step, parts in zip(seconds['step'], parts))
                  for parts in (seconds['plain'], [sum(pair) for pair in zip(seconds['plain'], teacher)])]
        shown = [f'{statistics.median(seconds[name]):.3f} s' if name in seconds else '-'
                 for name in ('plain', 'teacher', 'step')]
        name = f'{Path(cfg.filename).parent.name}/{Path(cfg.filename).stem}'
        table.add_row([name, *shown, *(f'{ratio:.3f}' for ratio in ratios)])
    print(f'{args.batch} images of {height} x {width} on {args.device}, {torch.get_num_threads()} threads, '
          f'medians of {args.repeats} rounds')
    print(table)


if __name__ == '__main__':
    main()
