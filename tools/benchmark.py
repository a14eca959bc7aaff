"""What a method's training step costs, against its student and teacher alone.

Prints, for each method's config, the time of a training step divided by that
of its parts: the stock student's forward and backward pass plus the teacher's
forward pass without gradient. All are measured in turn in one process on
random images, so that the ratio does not depend on the machine's mood.
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List

import mmcss  # noqa: F401  first: it makes `_base_ = ['mmseg::...']` work under both stacks
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmcss.engine import build_scenario, step_config
from mmcss.engine.folders import StepFolder
from mmcss.models import save_hand_over
from prettytable import PrettyTable
from torch import nn


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='experiment configs; their step 1 is measured')
    parser.add_argument('--size', type=int, nargs='+', default=[128], help='height and width of the images')
    parser.add_argument('--batch', type=int, default=8, help='images a batch')
    parser.add_argument('--repeats', type=int, default=20, help='times each is measured')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


def random_batch(batch: int, height: int, width: int, num_old: int, num_seen: int, device: str) -> Dict:
    """Random images with labels of a step: background, new classes in blocks, some ignored."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(num_old - 1, num_seen, (batch, 1, 8, 8), generator=generator)
    labels = torch.where(coarse < num_old, 0, coarse)
    labels[:, :, 0, 0] = 255
    labels = nn.functional.interpolate(labels.float(), (height, width)).long().to(device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    images = torch.randn(batch, 3, height, width, generator=generator).to(device)
    return dict(inputs=images, data_samples=samples)


def build(config: str, folder: str, device: str) -> nn.Module:
    """The student of a config's step 1, with a teacher of random weights."""
    cfg = Config.fromfile(config)
    scenario = build_scenario(cfg)
    first, second = (step_config(cfg, scenario, step, folder) for step in (0, 1))
    old = MODELS.build(first.model)
    hand_over = StepFolder(folder, 0).hand_over
    hand_over.parent.mkdir(parents=True)
    save_hand_over(hand_over, old.state_dict(), dict(classes=list(scenario[0].seen)))
    return revert_sync_batchnorm(MODELS.build(second.model)).to(device).train()


def step_functions(model: nn.Module, data: Dict) -> Dict[str, Callable[[], None]]:
    """The method's step, and its student and teacher alone."""
    stock = type(model).__mro__[2].loss  # the stock segmentor's, below the mixin

    def backward(losses: Dict) -> None:
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        model.zero_grad()

    functions = dict(step=lambda: backward(model.loss(**data)), student=lambda: backward(stock(model, **data)))
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
    table = PrettyTable(['config', 'student', 'teacher', 'step', 'step / (student + teacher)'], align='r')
    table.align['config'] = 'l'
    for config in args.configs:
        with tempfile.TemporaryDirectory() as folder:
            model = build(config, folder, args.device)
            data = random_batch(args.batch, height, width, model.split.num_old, model.split.num_seen, args.device)
            for part in model.method.parts.values():
                part.before_step(model.split, [model.look(**data)])
            seconds = measure(step_functions(model, data), args.repeats, args.device)
        # The ratio of each round, then the median: load that comes and goes hits a whole round.
        alone = [sum(times) for times in zip(*(seconds[name] for name in ('student', 'teacher') if name in seconds))]
        ratio = statistics.median(step / parts for step, parts in zip(seconds['step'], alone))
        shown = [f'{statistics.median(seconds[name]):.3f} s' if name in seconds else '-'
                 for name in ('student', 'teacher', 'step')]
        table.add_row([f'{Path(config).parent.name}/{Path(config).stem}', *shown, f'{ratio:.3f}'])
    print(f'{args.batch} images of {height} x {width} on {args.device}, {torch.get_num_threads()} threads, '
          f'medians of {args.repeats} rounds')
    print(table)


if __name__ == '__main__':
    main()
