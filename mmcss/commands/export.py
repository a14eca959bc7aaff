"""Write a trained step as a plain MMSegmentation model, and as ONNX.

The config and the checkpoint are loaded again, and have to predict the same;
so has the ONNX file, by onnxruntime.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from ..apis import export_onnx, export_step, find_step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('source', type=Path, metavar='WORK_DIR', help='folder of a run, or the hand-over of a step (step_k.pth)')
    parser.add_argument('--step', type=int, metavar='K', help='number of the step (default: the last trained one)')
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder to write into (default: export in that of the step)')
    parser.add_argument('--onnx', action='store_true', help='write an ONNX file too (pip install mmcss[export])')
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'),
                        help='size of the images that it is checked with, and that the ONNX file is for if it can not be for '
                        'any (default: that of the test windows or training crops)')


def run(args: argparse.Namespace) -> Optional[int]:
    """Write the files, and print what they are and what they need."""
    try:
        hand_over = find_step(args.source, args.step).hand_over
        size = tuple(args.size) if args.size else None
        written, model = export_step(args.source, args.out or hand_over.parent / 'export', args.step, size)
        print(f'{written.config} and {written.checkpoint.name}: loaded again, they predict the same')
        if written.types:
            print(f'They need mmcss where they are loaded, for {", ".join(written.types)}, which MMSegmentation does not '
                  'have; the config imports it.')
        others = [name for name in written.needs if name != 'mmcss']
        if others:
            print(f'They need {", ".join(others)} where they are loaded, as the run does; the config imports it.')
        if not written.needs:
            print('They need MMSegmentation alone.')
        if args.onnx:
            file = export_onnx(model, written.config.with_suffix('.onnx'), size)
            shape = ', '.join(map(str, file.shape))
            print(f'{file.path}: images [{shape}] float32, RGB, 0 to 255 -> logits; by onnxruntime they differ by '
                  f'{file.difference:.1e} at most, {file.relative:.1e} of the largest')
            if model.test_cfg.get('mode') == 'slide':
                print(f'The run tests in windows of {model.test_cfg.crop_size}; the ONNX file takes each image as a whole.')
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise argparse.ArgumentError(None, str(error)) from error
    return None
