"""Generated data, runs of seconds on it, and their comparison: what the parts of tools/soak.py share."""
from __future__ import annotations

import contextlib
import hashlib
import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmcss.engine import ContinualRunner
from mmengine.config import Config
from PIL import Image

TOOLS = Path(__file__).resolve().parent


# Data and configs.


def colours(classes: int) -> np.ndarray:
    """``[1 + classes, 3]`` uint8 colours that are far apart; the background is black."""
    levels = np.stack(np.meshgrid([60, 120, 180, 240], [40, 110, 180, 250], [50, 120, 190, 255]), -1).reshape(-1, 3)
    chosen = np.random.default_rng(0).permutation(levels)[:classes]
    return np.concatenate([np.zeros((1, 3), int), chosen]).astype(np.uint8)


def labels_of(index: int, classes: int, size: int = 32) -> np.ndarray:
    """``[size, size]`` uint8: two squares of classes on background, below a line of 255."""
    labels = np.zeros((size, size), np.uint8)
    half = size // 2
    labels[2:half - 2, 2:half - 2] = 1 + index % classes
    labels[half:-2, half:-2] = 1 + (index // 2 + 2) % classes
    labels[0] = 255
    return labels


def write_data(root: Path, classes: int = 4, train: int = 12, val: int = 4) -> Path:
    """Images of two coloured squares with a little noise, and their label maps."""
    palette = colours(classes)
    for role, number in (('train', train), ('val', val)):
        for folder in ('images', 'labels'):
            (root / folder / role).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            labels = labels_of(index, classes)
            noise = np.random.default_rng(index).integers(0, 40, (*labels.shape, 3))
            image = (palette[np.where(labels == 255, 0, labels)].astype(int) - noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / 'images' / role / f'{index:03d}.png')
            Image.fromarray(labels).save(root / 'labels' / role / f'{index:03d}.png')
    return root


def _loader(root: Path, role: str, classes: int) -> Dict[str, Any]:
    training = role == 'train'
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    if training:
        pipeline[2:2] = [dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion')]
    names = ['background', *(f'class{number}' for number in range(1, classes + 1))]
    return dict(
        batch_size=4 if training else 1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=training),
        dataset=dict(type='BaseSegDataset', data_root=str(root), img_suffix='.png',
                     data_prefix=dict(img_path=f'images/{role}', seg_map_path=f'labels/{role}'),
                     metainfo=dict(classes=names, palette=colours(classes).tolist()), pipeline=pipeline))


def _model() -> Dict[str, Any]:
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[100.] * 3, std=[80.] * 3, bgr_to_rgb=True,
                               seg_pad_val=255, size=(32, 32)),
        backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
                      dilations=(1, 1, 2, 4), norm_cfg=dict(type='SyncBN')),
        decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1, num_classes=99,
                         dropout_ratio=0.1, norm_cfg=dict(type='SyncBN'),  # so that random states matter
                         loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
        test_cfg=dict(mode='whole'))


def _method(name: str) -> Dict[str, Any]:
    """A method's own config, made for few images."""
    path = TOOLS.parent / 'configs' / '_base_' / 'methods' / f'{name}.py'
    method = Config.fromfile(path).continual.to_dict()
    if name == 'ssul_m':
        method['unknown'] = dict(of='background')
        method['memory'].update(size=4, export=True)
    if name == 'reminder_m':
        method['memory'].update(size=4, export=True)
    if name == 'online_em':
        method['memory'].update(size=5)
        method['online'].update(images=2)
    return method


def make_config(data: Path, work_dir: Path, method: str = 'plop', classes: int = 4, **changes: Any) -> Config:
    """A config over :func:`write_data` that learns the last classes one by one: three steps of four classes.

    Args:
        data: Folder of the data.
        work_dir: Folder of the run.
        method: A file of configs/_base_/methods: plop, ssul_m, reminder_m or online_em.
        classes: As the data was written with.
        changes: Merged into the config.
    """
    next_steps: Dict[str, Any] = dict(optim_wrapper=dict(optimizer=dict(lr=0.01)))
    if method == 'online_em':
        next_steps.update(train_cfg=dict(max_epochs=1), train_dataloader=dict(batch_size=2), param_scheduler=[])
    config = Config(dict(
        custom_imports=dict(imports=['mmcss'], allow_failed_imports=False), runner_type='ContinualRunner',
        default_scope='mmseg', env_cfg=dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)),
        visualizer=dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]), log_level='ERROR',
        randomness=dict(seed=0),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=10),
                           checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=2)),
        model=_model(), scenario=dict(type='ClassIncremental', base=2, increment=1), continual=_method(method),
        train_dataloader=_loader(data, 'train', classes), test_dataloader=_loader(data, 'val', classes),
        test_evaluator=[dict(type='ContinualIoUMetric')],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='PolyLR', power=0.9, by_epoch=True, convert_to_iter_based=True)],
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2), next_steps=next_steps, work_dir=str(work_dir),
        run=dict(report=False)))  # whose five MiB would fill the small disk
    config.merge_from_dict(changes)
    return config


# Runs.


def run(config: Config, **options: Any) -> Dict[str, Any]:
    """Train in this process; ``options`` go into ``cfg.run``."""
    config = config.copy()
    config.run = dict(config.get('run', {}), **options)
    return ContinualRunner.from_cfg(config).train()


def attempt(job: Callable[[], Any]) -> Tuple[Optional[Exception], str]:
    """Call ``job``; returns what it raised (None for nothing) and printed."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            job()
    except Exception as error:  # any: it is what the check examines
        return error, printed.getvalue()
    return None, printed.getvalue()


# What runs leave.


def hand_overs(work_dir: Path) -> Dict[str, str]:
    """Hash of each hand-over file that is there, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else 'a folder'
            for path in sorted(work_dir.glob('step_*/step_*.pth'))}


def without_ids(value: Any) -> Any:
    """A value of JSON without the ids of runs, which may differ between equal ones."""
    if isinstance(value, dict):
        return {key: without_ids(entry) for key, entry in value.items() if key not in ('id', 'hand_over', 'parent')}
    return [without_ids(entry) for entry in value] if isinstance(value, list) else value


def differences(expected: Path, actual: Path) -> List[str]:
    """What the results of two runs differ in: tensors of hand-overs, matrix of results, memories and their copies."""
    faults = []
    names = [{str(path.relative_to(root)) for pattern in ('step_*/step_*.pth', 'step_*/memory.json', 'step_*/memory/*/*')
              for path in root.glob(pattern)} | {'results.json'} for root in (expected, actual)]
    for name in sorted(names[0] ^ names[1]):
        faults.append(f'{name} is only in {(expected if name in names[0] else actual).name}')
    for name in sorted(names[0] & names[1]):
        if not same_file(expected / name, actual / name):
            faults.append(f'{name} differs')
    return faults


def same_file(expected: Path, actual: Path) -> bool:
    """Whether two files of runs have the same content: tensors, the matrix of results, a memory, or all bytes."""
    if not (expected.is_file() and actual.is_file()):
        return False
    if expected.read_bytes() == actual.read_bytes():
        return True
    try:
        return _same_content(expected, actual)
    except Exception:  # one of them is damaged, and torch has no common error for that
        return False


def _same_content(expected: Path, actual: Path) -> bool:
    if expected.suffix == '.pth':
        states = [torch.load(path, map_location='cpu', weights_only=True)['state_dict'] for path in (expected, actual)]
        return states[0].keys() == states[1].keys() and all(
            torch.equal(value, states[1][name]) for name, value in states[0].items())
    values = [json.loads(path.read_bytes()) for path in (expected, actual) if expected.suffix == '.json']
    if expected.name == 'results.json':
        return values[0]['matrix'] == values[1]['matrix']
    return len(values) == 2 and without_ids(values[0]) == without_ids(values[1])
