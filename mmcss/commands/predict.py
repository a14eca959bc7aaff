"""Segment images with a trained step.

Writes a picture with a legend of each image (overlays/NAME.png), and its label
map in the numbers of the data set (labels/NAME.png; 255 for classes that the
data set has no number for).
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from ..apis import find_images, find_step, init_model, predict_image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('source', type=Path, metavar='WORK_DIR', help='folder of a run, or the hand-over of a step (step_k.pth)')
    parser.add_argument('images', type=Path, nargs='+', metavar='IMAGES', help='images, and folders of images')
    parser.add_argument('--step', type=int, metavar='K', help='number of the step (default: the last trained one)')
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder to write into (default: predictions in that of the step)')
    parser.add_argument('--device', help="'cpu' or 'cuda:0' (default: a GPU if there is one)")


def run(args: argparse.Namespace) -> Optional[int]:
    """Segment the images; those that can't be read are told at the end."""
    try:
        hand_over = find_step(args.source, args.step).hand_over
        images = find_images(args.images)
        model = init_model(args.source, args.step, args.device)
    except (ValueError, FileNotFoundError) as error:
        raise argparse.ArgumentError(None, str(error)) from error
    out = args.out or hand_over.parent / 'predictions'
    unread = []
    for name, path in images.items():
        try:
            predicted = predict_image(model, path, name, out)
        except ValueError as error:
            unread.append(str(error))
            continue
        shares = ', '.join(f'{label} {share:.0%}' for label, share in predicted.shares.items())
        print(f'{path}: {shares}')
    print(f'{len(images) - len(unread)} of {len(images)} images segmented by {hand_over}; see {out}/overlays and {out}/labels')
    print(''.join(f'\n{message}' for message in unread), end='\n' if unread else '')
    return 1 if unread else None
