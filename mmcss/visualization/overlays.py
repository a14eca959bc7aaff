"""A prediction over its image."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..files import PathLike
from .predictions import Palette, class_patches, colourise, rows_figure, saved

BACKGROUND = 'background'
OPACITY = 0.6
PIXELS_PER_INCH = 100
# Widths of a picture in inches: of a small one, so that the legend can be read, and of a large one.
NARROWEST, WIDEST = 3.0, 10.0


def draw_overlay(image: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: Palette, title: str,
                 out: PathLike) -> Path:
    """Draw an image beside itself with the colours of its classes, above a legend of those that are present.

    Args:
        image: ``[H, W, 3]`` uint8 RGB.
        labels: ``[H, W]`` class indices, 255 where ignored.
        classes: Name of each class. The background is not painted.
        palette: RGB of each class.
        title: Of the image.
        out: The picture to write; its suffix sets the format.

    Returns:
        ``out`` as a path.

    Raises:
        ValueError: The sizes differ, or a label has no colour.
    """
    return saved(overlay_figure(image, labels, classes, palette, title), out)


def overlay_figure(image: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: Palette, title: str) -> Figure:
    """The figure of :func:`draw_overlay`."""
    if image.shape[:2] != labels.shape:
        raise ValueError(f'{title}: the image has height and width {image.shape[:2]}, its label map {labels.shape}; expected '
                         'the same.')
    skip = max(1, int(image.shape[1] / PIXELS_PER_INCH / WIDEST))  # drawing millions of pixels to shrink them takes seconds
    image, labels = image[::skip, ::skip], labels[::skip, ::skip]
    background = list(classes).index(BACKGROUND) if BACKGROUND in classes else -1
    painted = labels != background
    legend = class_patches([labels[painted]], classes, palette) if painted.any() else []
    if not painted.all():
        legend.insert(0, Patch(facecolor='none', edgecolor='grey', label=f'{BACKGROUND} (as it is)'))
    width = min(max(image.shape[1] / PIXELS_PER_INCH, NARROWEST), WIDEST)
    return rows_figure([[(title, image), ('prediction', overlaid(image, labels, painted, palette))]], width, legend)


def overlaid(image: np.ndarray, labels: np.ndarray, painted: np.ndarray, palette: Palette) -> np.ndarray:
    """``[H, W, 3]`` uint8: the image, where ``painted`` (``[H, W]`` bool) mixed with the colours of its classes."""
    mixed = (1 - OPACITY) * image + OPACITY * colourise(labels, palette)
    return np.where(painted[..., None], mixed.round().astype(np.uint8), image)
