#!/usr/bin/env python
"""Write a small data set of textured shapes, for trying methods without a download.

    python tools/make_shapes.py --out data/shapes

The layout is that of a data set with images and labels in folders of their own::

    OUT/images/{train,val}/00000.jpg     RGB
    OUT/labels/{train,val}/00000.png     uint8: 0 background, 1..8 classes, 255 a border of one pixel around each shape
    OUT/classes.json                     names of the classes 1..8
    OUT/meta.json                        how it was made

Each class has its own outline, texture and pair of colours, and all three are
needed: some pairs of classes share a texture, some look-alikes in colour
differ in outline, and backgrounds take any colour and come striped or noisy.
Image ``i`` of a split depends on the seed and the size alone, not on how many
images there are.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

# Part of meta.json: raise it when the drawing changes, so that old sets are made anew.
VERSION = 1
IGNORE = 255
SPLITS = ('train', 'val')
OWN_FILES = {'images', 'labels', 'classes.json', 'meta.json'}

# A field takes coordinates u, v (each [S, S]) in which a shape has radius 1
# and stands upright, and gives a value per pixel.
Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
Colour = Tuple[float, float, float]  # hue 0..180, saturation and value 0..255, as OpenCV has them


# Outlines: true inside.


def disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u**2 + v**2 < 0.85


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) < 0.78


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(v - 0.6, 0.866 * abs(u) - 0.5 * v - 0.5) < 0


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) < 0.72 + 0.28 * np.cos(5 * np.arctan2(v, u))


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return abs(np.hypot(u, v) - 0.7) < 0.28


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.minimum(abs(u), abs(v)) < 0.33) & (np.maximum(abs(u), abs(v)) < 0.95)


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u**2 + v**2 < 1) & ((u - 0.5)**2 + v**2 > 0.5)


def hourglass(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (abs(v) < 0.9) & (abs(u) < 0.2 + 0.65 * abs(v))


# Textures: weight of the second colour, 0..1.


def dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.cos(8 * u) * np.cos(8 * v) > 0.45).astype(float)


def checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.sin(6.5 * u) * np.sin(6.5 * v) > 0).astype(float)


def stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.sign(np.sin(11 * v))


def rays(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.sign(np.sin(10 * np.arctan2(v, u)))


def waves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(9 * v + 2 * np.sin(5 * u))


def fade(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 0.6 * u, 0, 1)


class ShapeClass(NamedTuple):
    """How the shapes of a class look."""

    outline: Field
    texture: Field
    first: Colour
    second: Colour


CLASSES: Dict[str, ShapeClass] = {
    'disc': ShapeClass(disc, dots, (5, 200, 210), (22, 120, 250)),
    'square': ShapeClass(square, checks, (112, 200, 200), (95, 90, 240)),
    'triangle': ShapeClass(triangle, stripes, (60, 190, 160), (45, 130, 235)),
    'star': ShapeClass(star, fade, (27, 220, 245), (14, 225, 220)),
    'ring': ShapeClass(ring, rays, (140, 160, 190), (155, 90, 250)),
    'cross': ShapeClass(cross, stripes, (90, 190, 220), (105, 200, 120)),
    'crescent': ShapeClass(crescent, waves, (168, 170, 235), (168, 50, 255)),
    'hourglass': ShapeClass(hourglass, checks, (70, 120, 90), (20, 150, 150)),
}
NAMES = tuple(CLASSES)


def paint(field: np.ndarray, first: Colour, second: Colour) -> np.ndarray:
    """Blend two colours: ``[H, W]`` weights of the second to ``[H, W, 3]`` float BGR."""
    pair = np.array([[first, second]]).clip((0, 0, 0), (np.inf, 255, 255))
    pair[..., 0] %= 180
    low, high = cv2.cvtColor(pair.round().astype(np.uint8), cv2.COLOR_HSV2BGR)[0].astype(float)
    return low + field[..., None] * (high - low)


def jitter(rng: np.random.Generator, colour: Colour, shift: float) -> Colour:
    """Move a colour at random; ``shift`` is the hue's part that a shape's colours share."""
    hue, saturation, value = colour
    return hue + shift, saturation * rng.uniform(0.75, 1.1), value * rng.uniform(0.8, 1.1)


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """``[size, size]`` noise in 0..1 with blobs of about ``size / cells`` pixels."""
    coarse = rng.random((cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """``[size, size, 3]`` float BGR: a gradient, stripes or blobs of two colours of any hue."""
    y, x = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    kind = rng.integers(3)
    if kind == 0:
        field = 0.5 + 0.5 * along
    elif kind == 1:
        field = 0.5 + 0.5 * np.sin(along * rng.uniform(15, 50))
    else:
        field = smooth_noise(rng, size, int(rng.integers(4, 17)))
    hue = rng.uniform(0, 180)
    # Less saturated than the shapes, but of their hues and brightness.
    first = (hue, rng.uniform(10, 130), rng.uniform(60, 220))
    second = (hue + rng.uniform(-30, 30), rng.uniform(10, 130), rng.uniform(60, 220))
    return paint(field, first, second)


def place_shapes(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """``[placed, 3]`` centre x, centre y and radius in pixels of 1 to ``count`` shapes that barely overlap."""
    placed: List[np.ndarray] = []
    for _ in range(count):
        radius = size * rng.uniform(0.16, 0.28)
        centres = rng.uniform(0.75 * radius, size - 0.75 * radius, (20, 2))
        for other in placed:
            gaps = np.hypot(*(centres - other[:2]).T)
            centres = centres[gaps > 0.9 * (radius + other[2])]
        if len(centres):
            placed.append(np.append(centres[0], radius))
    return np.array(placed)


def draw_shape(rng: np.random.Generator, image: np.ndarray, label: np.ndarray, name: str, place: np.ndarray) -> None:
    """Draw one shape into ``image`` ``[S, S, 3]`` and ``label`` ``[S, S]``."""
    shape = CLASSES[name]
    centre_x, centre_y, radius = place
    y, x = np.mgrid[:len(label), :len(label)]
    # Only the surroundings of the shape: corners reach out to 1.2 times its radius.
    reach = 1.2 * radius + 2
    near = np.ix_(abs(y[:, 0] - centre_y) <= reach, abs(x[0] - centre_x) <= reach)
    x, y = (x[near] - centre_x) / radius, (y[near] - centre_y) / radius
    angle = rng.uniform(0, 2 * np.pi)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    mask = shape.outline(u, v)
    shift = rng.uniform(-8, 8)
    colours = paint(shape.texture(u, v), jitter(rng, shape.first, shift), jitter(rng, shape.second, shift))
    image[near] = np.where(mask[..., None], colours, image[near])
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    label[near] = np.where(mask, NAMES.index(name) + 1, np.where(grown, IGNORE, label[near]))


def draw_sample(seed: int, split: str, index: int, size: int) -> Tuple[np.ndarray, np.ndarray]:
    """Draw image ``index`` of a split.

    Returns:
        Image ``[size, size, 3]`` uint8 BGR and label ``[size, size]`` uint8.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    image = draw_background(rng, size)
    label = np.zeros((size, size), np.uint8)
    places = place_shapes(rng, int(rng.integers(1, 5)), size)
    # The first shape goes round the classes, so that each is in an eighth of the images at least.
    names = [NAMES[index % len(NAMES)], *rng.choice(NAMES, len(places) - 1)]
    for name, place in zip(names, places):
        draw_shape(rng, image, label, str(name), place)
    # A camera's softness, light and grain; the softness also hides the hard edges.
    image = cv2.GaussianBlur(image, (3, 3), 0.6) * rng.uniform(0.75, 1.15) + rng.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8), label


def write_split(root: Path, split: str, count: int, size: int, seed: int) -> None:
    """Write the images and labels of a split below ``root``."""
    images, labels = root / 'images' / split, root / 'labels' / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(count):
        image, label = draw_sample(seed, split, index, size)
        cv2.imwrite(str(images / f'{index:05d}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(labels / f'{index:05d}.png'), label)


def clear_place(out: Path) -> None:
    """Remove an older set at ``out``, and refuse to touch anything else."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if names - OWN_FILES or (names and 'meta.json' not in names):
        raise FileExistsError(f'{out} holds other files than a set of shapes: {sorted(names)[:5]}. '
                              'Remove it or give another --out.')
    if out.is_dir():
        shutil.rmtree(out)


def make_shapes(out: Path, train: int = 480, val: int = 120, size: int = 96, seed: int = 0) -> bool:
    """Write the data set, unless it is there already.

    Args:
        out: Folder to write to; an older set in it is replaced.
        train: Number of training images.
        val: Number of validation images.
        size: Height and width of the images in pixels.
        seed: Seed of all images.

    Returns:
        Whether it was written.

    Raises:
        FileExistsError: ``out`` holds something else.
    """
    meta = dict(version=VERSION, train=train, val=val, size=size, seed=seed)
    note = out / 'meta.json'
    if note.is_file() and json.loads(note.read_text()) == meta:
        return False
    clear_place(out)
    # Made aside and renamed, so that a set which is there is whole.
    partial = out.with_name(out.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    for split, count in zip(SPLITS, (train, val)):
        write_split(partial, split, count, size, seed)
    (partial / 'classes.json').write_text(json.dumps(NAMES) + '\n')
    (partial / 'meta.json').write_text(json.dumps(meta) + '\n')
    os.replace(partial, out)
    return True


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description='Write a small data set of textured shapes.')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    parser.add_argument('--train', type=int, default=480, help='number of training images (default: 480)')
    parser.add_argument('--val', type=int, default=120, help='number of validation images (default: 120)')
    parser.add_argument('--size', type=int, default=96, help='height and width in pixels (default: 96)')
    parser.add_argument('--seed', type=int, default=0, help='seed of all images (default: 0)')
    options = parser.parse_args(arguments)
    written = make_shapes(**vars(options))
    print(f'{options.out}: {options.train} + {options.val} images {"written" if written else "are there already"}')


if __name__ == '__main__':
    main()
