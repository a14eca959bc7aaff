"""A tiny data set and config that go through whole scenarios in seconds."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
from mmengine.config import Config
from PIL import Image

CLASSES = ('background', 'red', 'green', 'blue', 'white')
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8)


def make_data(root: Path, train: int = 12, val: int = 4, size: int = 32) -> Path:
    """Images of two coloured squares on black: each of the four classes in half of the images."""
    for role, number in (('train', train), ('val', val)):
        for folder in ('images', 'labels'):
            (root / folder / role).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            labels = np.zeros((size, size), dtype=np.uint8)
            labels[2:14, 2:14] = 1 + i % 4
            labels[16:30, 16:30] = 1 + (i // 2 + 2) % 4
            labels[0] = 255
            noise = np.random.default_rng(i).integers(0, 40, (size, size, 3))
            colour = COLOURS[np.where(labels == 255, 0, labels)]
            image = np.clip(colour.astype(int) - noise, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / 'images' / role / f'{i:03d}.png')
            Image.fromarray(labels).save(root / 'labels' / role / f'{i:03d}.png')
    return root


def loader(root: Path, role: str, workers: int = 0) -> Dict[str, Any]:
    """A stock data loader config over :func:`make_data`."""
    training = role == 'train'
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    if training:
        pipeline[2:2] = [dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion')]
    return dict(
        batch_size=4 if training else 1,
        num_workers=workers,
        sampler=dict(type='DefaultSampler', shuffle=training),
        dataset=dict(
            type='BaseSegDataset',
            data_root=str(root),
            img_suffix='.png',
            data_prefix=dict(img_path=f'images/{role}', seg_map_path=f'labels/{role}'),
            metainfo=dict(classes=CLASSES, palette=COLOURS.tolist()),
            pipeline=pipeline))


def tiny_model() -> Dict[str, Any]:
    """A stock model that trains a step in a second; with dropout, so that random states matter."""
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[100.] * 3, std=[80.] * 3, bgr_to_rgb=True, seg_pad_val=255, size=(32, 32)),
        backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
                      dilations=(1, 1, 2, 4), norm_cfg=dict(type='SyncBN')),
        decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1, num_classes=99,
                         dropout_ratio=0.1, norm_cfg=dict(type='SyncBN'),
                         loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
        test_cfg=dict(mode='whole'))


PLOP = dict(
    targets=dict(type='EntropyPseudoLabels'),
    losses=dict(local_pod=dict(type='LocalPOD')),
    new_rows='background')
MIB = dict(
    loss_decode=dict(type='UnbiasedCrossEntropyLoss'),
    losses=dict(unkd=dict(type='UnbiasedDistillation')),
    new_rows='background')
SSUL_M = dict(
    unknown=dict(of='background'), targets=dict(type='SigmoidPseudoLabels'),
    loss_decode=dict(type='BinaryCrossEntropyLoss', classes='all'), new_rows='unknown', frozen=['shared', 'old'],
    memory=dict(size=4))
REMINDER_M = dict(PLOP, losses=dict(PLOP['losses'], csw_kd=dict(type='ClassSimilarityWeightedKD')),
                  memory=dict(size=5, policy='herding'))


def tiny_config(root: Path, work_dir: Path, workers: int = 0, **changes: Any) -> Config:
    """A config of three steps (2, 1 and 1 classes) over :func:`make_data`."""
    config = dict(
        custom_imports=dict(imports=['mmcss'], allow_failed_imports=False),
        runner_type='ContinualRunner',
        default_scope='mmseg',
        env_cfg=dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)),
        vis_backends=[dict(type='LocalVisBackend')],
        visualizer=dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        log_level='WARNING',
        randomness=dict(seed=0),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=10),
            checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=2)),
        model=tiny_model(),
        scenario=dict(type='ClassIncremental', base=2, increment=1),
        protocol=dict(),
        continual=PLOP,
        train_dataloader=loader(root, 'train', workers),
        test_dataloader=loader(root, 'val', workers),
        test_evaluator=[dict(type='ContinualIoUMetric'), dict(type='IoUMetric', iou_metrics=['mIoU'])],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='PolyLR', power=0.9, by_epoch=True, convert_to_iter_based=True)],
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3),
        next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.01))),
        work_dir=str(work_dir))
    config.update(changes)
    config['run'] = dict(dict(rehearsal=False, report=False), **config.get('run', {}))
    return Config(config)
