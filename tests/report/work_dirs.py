"""Work_dirs of runs that were never trained."""
from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mmcss.evaluation import iou_per_class, mean_over, summarise
from mmcss.files import write_json
from mmcss.scenario import Protocol

import numpy as np

CONFUSIONS = [
    [[80, 20], [10, 90]],
    [[90, 10, 0], [60, 30, 10], [0, 50, 150]],
]
PALETTE = [[0, 0, 0], [230, 25, 75], [60, 180, 75]]


def step_result(step: int, classes: list[str], confusion: list[list[int]], protocol: dict) -> dict:
    """``result.json`` of a step of a scenario whose step 0 has two classes."""
    counts = np.array(confusion)
    iou, old = iou_per_class(counts).round(4), range(2)
    result = dict(step=step, num_steps=2, regime='overlapped', images={}, protocol=protocol, hand_over=f'id {step}',
                  num_test_images=5 + step, palette=PALETTE[:len(classes)], mIoU=round(mean_over(iou, range(len(iou))), 2),
                  mIoU_old=round(mean_over(iou, old), 2))
    if step:
        result['mIoU_new'] = round(mean_over(iou, range(2, len(iou))), 2)
    return dict(result, classes=classes, IoU=iou.tolist(), Acc=(100 * counts.diagonal() / counts.sum(1)).tolist(),
                scored=[True] * len(iou), confusion=confusion)


def make_run(work_dir: Path, entering=(('background', 'disc'), ('star', )), confusions=CONFUSIONS, seed=0, method=None,
             steps=None) -> Path:
    """A run of two steps, with logs of three and two iterations; ``steps`` of them are finished."""
    protocol = asdict(Protocol())
    results = [step_result(step, [name for names in entering[:step + 1] for name in names], confusion, protocol)
               for step, confusion in enumerate(confusions)][:steps]
    write_json(work_dir / 'results.json', dict(summarise(results), scenario=[list(names) for names in entering],
                                               profile='paper', protocol=protocol, protocol_name='default'))
    for step, result in enumerate(results):
        folder = work_dir / f'step_{step}'
        write_json(folder / 'result.json', result)
        write_json(folder / 'step.json', dict(method=method or {}, regime='overlapped', settings=dict(batch_size=4),
                                              seconds=90. * (step + 1), versions=dict(mmcss='0.1.0', torch='2.9.0')))
        log = folder / '20260101_120000' / 'vis_data'
        log.mkdir(parents=True)
        (log / 'config.py').write_text(f'randomness = dict(seed={seed})\n')
        (log / 'scalars.json').write_text(''.join(json.dumps(dict(
            lr=.01, loss=2. / number, decode=1., time=.5 * number, memory=1024 * number, step=number, epoch=1)) + '\n'
            for number in range(1, 4 - step)) + json.dumps(dict(mIoU=3., step=9)) + '\n{"loss": 1, "st')
    return work_dir
