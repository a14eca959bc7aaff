#!/usr/bin/env python
"""Write a stand-in for VOC 2012 or ADE20K: real image names and classes, tiny pictures.

    python tools/make_voc_tree.py --splits SPLITS --out data
    python tools/make_voc_tree.py --splits SPLITS --out data --dataset ade20k

With it the images that each step of a scenario selects can be checked at full
scale, without the data set. The layout is that of MMSegmentation's configs
``pascal_voc12_aug.py`` and ``ade20k.py`` with ``data`` as ``OUT``::

    OUT/VOCdevkit/VOC2012/JPEGImages
    OUT/VOCdevkit/VOC2012/SegmentationClass           images of train.txt and val.txt
    OUT/VOCdevkit/VOC2012/SegmentationClassAug        images of aug.txt
    OUT/VOCdevkit/VOC2012/ImageSets/Segmentation/{train,aug,val}.txt
    OUT/ade/ADEChallengeData2016/{images,annotations}/{training,validation}

``SPLITS`` holds lists with one image per line, ``image_id class_id…``. Each
label map holds exactly the listed classes and the background 0; those of VOC
also hold 255 and, in SegmentationClass, have VOC's colour palette as the real
files do.
"""
from __future__ import annotations

import argparse
import io
import os
import shutil
from functools import cache
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

SIZE = 16
IGNORE = 255
# Number of images of VOC's own train.txt; the others of train_aug stand in aug.txt.
VOC_TRAIN = 1464
VOC_ROOT = Path('VOCdevkit') / 'VOC2012'
ADE_ROOT = Path('ade') / 'ADEChallengeData2016'


class Entry(NamedTuple):
    """One line of a list."""

    image_id: str
    classes: Tuple[int, ...]


class Style(NamedTuple):
    """How the label maps of a folder are made."""

    ignore: bool
    palette: bool


def read_entries(path: Path, num_classes: int) -> List[Entry]:
    """Read a list of images; lines that begin with ``#`` are comments.

    Raises:
        ValueError: A class id is not in ``1..num_classes``.
    """
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith('#'):
            continue
        image_id, *ids = line.split()
        classes = tuple(sorted(map(int, ids)))
        if classes and not 1 <= classes[0] <= classes[-1] <= num_classes:
            raise ValueError(f'{path}, line {number}: got class ids {list(classes)}, valid are 1 to {num_classes}.')
        entries.append(Entry(image_id, classes))
    return entries


def voc_palette() -> bytes:
    """VOC's 256 colours: the bits of a label, lowest first, dealt out to red, green and blue from their highest."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= (((labels >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours.tobytes()


@cache
def encode_label(classes: Tuple[int, ...], style: Style) -> bytes:
    """PNG of a ``[SIZE, SIZE]`` label map with one pixel per class on background."""
    label = np.zeros(SIZE * SIZE, np.uint8)
    label[1:1 + len(classes)] = classes
    if style.ignore:
        label[-1] = IGNORE
    image = Image.fromarray(label.reshape(SIZE, SIZE))
    if style.palette:
        image.putpalette(voc_palette())
    buffer = io.BytesIO()
    image.save(buffer, 'PNG')
    return buffer.getvalue()


def encode_image() -> bytes:
    """JPEG of a grey ``[SIZE, SIZE, 3]`` picture."""
    buffer = io.BytesIO()
    Image.new('RGB', (SIZE, SIZE), (128, 128, 128)).save(buffer, 'JPEG')
    return buffer.getvalue()


def write_part(entries: Sequence[Entry], images: Path, labels: Path, style: Style) -> None:
    """Write an image and a label map for each entry."""
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    picture = encode_image()
    for image_id, classes in entries:
        (images / f'{image_id}.jpg').write_bytes(picture)
        (labels / f'{image_id}.png').write_bytes(encode_label(classes, style))


def write_voc(splits: Path, root: Path, num_train: int = VOC_TRAIN) -> int:
    """Write VOC 2012; the first ``num_train`` images of train_aug stand in train.txt, the others in aug.txt.

    Returns:
        Number of images.
    """
    train_aug = read_entries(splits / 'voc2012_train_aug_classes.txt', 20)
    val = read_entries(splits / 'voc2012_val_classes.txt', 20)
    own, augmented = Style(ignore=True, palette=True), Style(ignore=True, palette=False)
    parts = (('train', train_aug[:num_train], 'SegmentationClass', own),
             ('aug', train_aug[num_train:], 'SegmentationClassAug', augmented),
             ('val', val, 'SegmentationClass', own))
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    for name, entries, labels, style in parts:
        write_part(entries, root / 'JPEGImages', root / labels, style)
        (lists / f'{name}.txt').write_text(''.join(f'{entry.image_id}\n' for entry in entries))
    return len(train_aug) + len(val)


def write_ade(splits: Path, root: Path) -> int:
    """Write ADE20K, and return its number of images."""
    count = 0
    for split, name in (('train', 'training'), ('val', 'validation')):
        entries = read_entries(splits / f'ade20k_{split}_classes.txt', 150)
        write_part(entries, root / 'images' / name, root / 'annotations' / name, Style(ignore=False, palette=False))
        count += len(entries)
    return count


def make_tree(splits: Path, out: Path, dataset: str = 'voc2012', num_train: int = VOC_TRAIN) -> Tuple[Path, int]:
    """Write a data set.

    Args:
        splits: Folder of the lists.
        out: The folder that MMSegmentation's configs call ``data``.
        dataset: 'voc2012' or 'ade20k'.
        num_train: VOC only: number of images in train.txt.

    Returns:
        The data set's own folder below ``out``, and its number of images.

    Raises:
        FileExistsError: That folder is there already; it may be the real one.
    """
    root = out / (VOC_ROOT if dataset == 'voc2012' else ADE_ROOT)
    if root.exists():
        raise FileExistsError(f'{root} is there already and may be the real data set. Remove it or give another --out.')
    # Made aside and renamed, so that a tree which is there is whole.
    partial = root.with_name(root.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    count = write_voc(splits, partial, num_train) if dataset == 'voc2012' else write_ade(splits, partial)
    os.replace(partial, root)
    return root, count


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description='Write a stand-in for VOC 2012 or ADE20K with tiny pictures.')
    parser.add_argument('--splits', type=Path, required=True, help='folder of lists "image_id class_id…"')
    parser.add_argument('--out', type=Path, required=True, help="what MMSegmentation's configs call data")
    parser.add_argument('--dataset', choices=('voc2012', 'ade20k'), default='voc2012')
    parser.add_argument('--num-train', type=int, default=VOC_TRAIN,
                        help=f'VOC only: how many of train_aug stand in train.txt (default: {VOC_TRAIN})')
    options = parser.parse_args(arguments)
    root, count = make_tree(**vars(options))
    print(f'{root}: {count} images')


if __name__ == '__main__':
    main()
