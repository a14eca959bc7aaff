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
from mmcss.models import predict, save_hand_over
from mmcss.parts import Part
from mmcss.scenario import Split
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


def random_batch(batch: int, height: int, width: int, split: Split, device: str) -> Dict:
    """Random images with labels of a step: background, new classes in blocks, some ignored."""
    generator = torch.Generator().manual_seed(0)
    lowest = max(split.num_old - 1, 0)
    coarse = torch.randint(lowest, split.num_seen, (batch, 1, 8, 8), generator=generator)
    labels = torch.where(coarse < max(split.num_old, 1), 0, coarse)
    labels[:, :, 0, 0] = 255
    labels = nn.functional.interpolate(labels.float(), (height, width)).long().to(device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    for sample in samples:
        sample.labelled = (torch.arange(split.num_seen) >= max(split.num_old, 1)).to(device)
    images = torch.randn(batch, 3, height, width, generator=generator).to(device)
    return dict(inputs=images, data_samples=samples)


def build(cfg: Config, folder: str, device: str, batch: Callable[[Split], Dict]) -> nn.Module:
    """The student of a config's step 1, with a teacher of random weights, ready to train."""
    scenario = build_scenario(cfg)
    old, config = (step_config(cfg, scenario, step, folder) for step in (0, 1))
    old = revert_sync_batchnorm(MODELS.build(old.model)).to(device).eval()
    hand_over = StepFolder(folder, 0).hand_over
    hand_over.parent.mkdir(parents=True, exist_ok=True)
    save_hand_over(hand_over, old.state_dict(), dict(classes=list(scenario[0].seen)))
    model = revert_sync_batchnorm(MODELS.build(config.model)).to(device).train()
    for name, part in model.method.parts.items():
        part.attach(model, old.state_dict())
        if name in old.method.observers:
            part.load_previous(left_by(old.method.observers[name], old, batch(old.split)))
        part.before_step(model.split, [model.look(**batch(model.split), needs=part.needs)])
    return model


def left_by(part: Part, model: nn.Module, data: Dict) -> Dict[str, torch.Tensor]:
    """What a part leaves at the end of a step 0 of one update."""
    part.attach(model, {})
    train(model.train(), data)
    seen = model.eval().labels_of(data['data_samples'])
    seen.student = predict(model, data['inputs'], tuple(seen.target.shape[1:]), part.needs)
    part.after_step(model.split, [seen])
    return part.state_dict()


def train(model: nn.Module, data: Dict) -> None:
    """Forward and backward pass of a batch, and what parts do before the update."""
    sum(value for name, value in model.loss(**data).items() if 'loss' in name).backward()
    for part in model.method.parts.values():
        part.before_update()
    model.zero_grad()


def step_functions(model: nn.Module, plain: nn.Module, data: Dict) -> Dict[str, Callable[[], None]]:
    """The method's step, plain fine-tuning's, and the teacher alone."""
    functions = dict(step=lambda: train(model, data), plain=lambda: train(plain, data))
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
        cfg = Config.fromfile(config)
        plain = Config(dict(cfg._cfg_dict.to_dict(), continual={}, official={}), filename=cfg.filename)
        with tempfile.TemporaryDirectory() as folder:
            model, plain = (build(one, f'{folder}/{name}', args.device, batch)
                            for name, one in (('method', cfg), ('plain', plain)))
            seconds = measure(step_functions(model, plain, batch(model.split)), args.repeats, args.device)
        # The ratio of each round, then the median: load that comes and goes hits a whole round.
        teacher = seconds.get('teacher', [0.0] * args.repeats)
        ratios = [statistics.median(step / parts for step, parts in zip(seconds['step'], parts))
                  for parts in (seconds['plain'], [sum(pair) for pair in zip(seconds['plain'], teacher)])]
        shown = [f'{statistics.median(seconds[name]):.3f} s' if name in seconds else '-'
                 for name in ('plain', 'teacher', 'step')]
        name = f'{Path(config).parent.name}/{Path(config).stem}'
        table.add_row([name, *shown, *(f'{ratio:.3f}' for ratio in ratios)])
    print(f'{args.batch} images of {height} x {width} on {args.device}, {torch.get_num_threads()} threads, '
          f'medians of {args.repeats} rounds')
    print(table)


if __name__ == '__main__':
    main()
