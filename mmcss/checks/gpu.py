"""Runs that show what this machine's GPU does, and no CPU can: mixed precision, NCCL, SyncBN, resume, memory, speed."""
from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..evaluation import means_text
from ..engine.packaged_files import OWN, PACKAGED
from .rows import Row, judged

METHODS = ('mib', 'ssul', 'reminder', 'sdr', 'ewc', 'online_em')
SPEED = ('lwf', 'mib', 'plop', 'reminder', 'ssul')
NEAR = 10.0  # points of mIoU between precisions, after a few epochs of a small model


class Run(NamedTuple):
    """What a run through the scenario has left.

    Attributes:
        miou: Of all classes after the last step, None if it failed.
        faults: What is wrong with it.
        note: Its results, peak memory and time.
    """

    miou: Optional[float]
    faults: List[str]
    note: str


def config_of(method: str) -> str:
    """A method's config, as commands take it."""
    return f'{OWN}{method}/deeplabv3_r101_voc_15-1.py'


class GPUCheck:
    """Runs of commands on generated data, as long as there is time.

    Args:
        root: Folder of data, work_dirs and logs.
        device: 'cuda' or 'cpu'.
        seconds: Time for all of it.
        epochs: Of each step.
    """

    def __init__(self, root: Path, device: str, seconds: float, epochs: int) -> None:
        self.root, self.cuda, self.epochs = root, device == 'cuda', epochs
        self.end = time.time() + seconds
        self.call('make_shapes', [str(PACKAGED / 'tools' / 'make_shapes.py'), '--out', str(root / 'shapes8')])

    def train(self, name: str, method: str, *options: str, distributed: bool = False, **settings: Any) -> Run:
        """Train a method through the scenario, in a work_dir of this name."""
        work_dir, data = self.root / name, self.root / 'shapes8'
        settings = {'train_dataloader.dataset.data_root': data, 'test_dataloader.dataset.data_root': data,
                    'train_cfg.max_epochs': self.epochs, **settings}
        if method != 'online_em':  # which sees each image once
            settings['next_steps.train_cfg.max_epochs'] = self.epochs
        launcher = ['-m', 'torch.distributed.run', '--nproc_per_node', '1', '--master_port', '29611'] if distributed else []
        error, seconds = self.call(
            name, [*launcher, '-m', 'mmcss', 'train', config_of(method), '--scenario', 'shapes8_5-1', '--model',
                   'deeplabv3_r18_scratch', '--work-dir', str(work_dir), *options,
                   *(['--launcher', 'pytorch'] if distributed else []), '--cfg-options',
                   *(f'{key}={value}' for key, value in settings.items())])
        if error:
            return Run(None, [error], '')
        last = json.loads((work_dir / 'results.json').read_text())['steps'][-1]
        logged = [json.loads(line) for file in work_dir.rglob('scalars.json') for line in file.read_text().splitlines()]
        infinite = sorted({key for line in logged for key, value in line.items() if 'loss' in key and not math.isfinite(value)})
        memory = max((line.get('memory', 0) for line in logged), default=0)
        return Run(last['mIoU'], [f'{key} is not finite' for key in infinite],
                   f'{means_text(last)}; {memory} MiB; {seconds:.0f} s')

    def call(self, name: str, arguments: Sequence[str]) -> Tuple[str, float]:
        """Call Python, its output in a log of this name; its error ('' for none) and seconds."""
        begun, log = time.time(), self.root / f'{name}.log'
        if self.end - begun < 10:
            return 'no time was left', 0.0
        try:
            with log.open('w') as file:
                code = subprocess.run([sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT,
                                      timeout=self.end - begun, env={'OMP_NUM_THREADS': '4', **os.environ}).returncode
        except subprocess.TimeoutExpired:
            return 'no time was left', time.time() - begun
        last_line = ''.join(log.read_text().strip().splitlines()[-1:])
        return f'ended with {code}: {last_line[-300:]}' if code else '', time.time() - begun


def precision(check: GPUCheck) -> List[Row]:
    """float32, and on a GPU float16 and bfloat16 near it."""
    plain = check.train('float32', 'plop')
    rows = [judged('precision', 'float32', plain.faults, plain.note)]
    for kind in ('float16', 'bfloat16') if check.cuda else ():
        settings: Dict[str, Any] = {'optim_wrapper.dtype': kind}
        run = check.train(kind, 'plop', '--amp', **settings)
        faults = list(run.faults)
        if run.miou is not None and plain.miou is not None and abs(run.miou - plain.miou) > NEAR:
            faults.append(f'mIoU {run.miou:.1f}, in float32 {plain.miou:.1f}')
        rows.append(judged('precision', kind, faults, run.note))
    return rows


def group(check: GPUCheck) -> List[Row]:
    """One process of a group (NCCL on GPUs), and SyncBN on a GPU."""
    runs = {'one process': check.train('group', 'plop', distributed=True)}
    if check.cuda:
        norms: Dict[str, Any] = {f'model.{place}.norm_cfg.type': 'SyncBN' for place in ('backbone', 'decode_head')}
        runs['one process, SyncBN'] = check.train('syncbn', 'plop', distributed=True, **norms)
    return [judged('NCCL' if check.cuda else 'gloo', case, run.faults, run.note) for case, run in runs.items()]


def resume(check: GPUCheck) -> List[Row]:
    """A run that was stopped after step 1 and resumed, against one that was not."""
    settings: Dict[str, Any] = {'env_cfg.cudnn_benchmark': False, 'randomness.deterministic': True}
    whole = check.train('whole', 'plop', **settings)
    stopped = check.train('stopped', 'plop', '--step', '0-1', **settings)
    resumed = check.train('stopped', 'plop', '--resume', **settings)
    faults = [*whole.faults, *stopped.faults, *resumed.faults]
    if not faults and resumed.miou != whole.miou:
        faults.append(f'mIoU {resumed.miou}, of the whole run {whole.miou}')
    return [judged('resume', 'stopped after step 1', faults, resumed.note)]


def methods(check: GPUCheck) -> List[Row]:
    """Methods, on a GPU in float16."""
    runs = {method: check.train(method, method, *(['--amp'] if check.cuda else [])) for method in METHODS}
    return [judged('methods', method, run.faults, run.note) for method, run in runs.items()]


def speed(check: GPUCheck) -> List[Row]:
    """What a step of some methods costs, by tools/benchmark.py."""
    size, batch = ('512', '12') if check.cuda else ('64', '2')
    error, seconds = check.call('benchmark', [
        str(PACKAGED / 'tools' / 'benchmark.py'), *map(config_of, SPEED), '--size', size, size, '--batch', batch,
        '--repeats', '5', '--device', 'cuda' if check.cuda else 'cpu'])
    if not error:
        print((check.root / 'benchmark.log').read_text())
    return [judged('speed', f'DeepLabV3-R101, {batch} x {size} x {size}', [error] if error else [], f'{seconds:.0f} s')]


PARTS: Dict[str, Callable[[GPUCheck], List[Row]]] = dict(
    precision=precision, speed=speed, group=group, resume=resume, methods=methods)
