"""Training images beside all of their labels and those that a step sees."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..files import PathLike
from .predictions import Palette, class_patches, colourise, rows_figure, saved

CELL = 3.0  # width of a picture, inches
LONGEST_NAME = 45  # letters of a title


@dataclass(frozen=True)
class SheetRow:
    """An image and its labels.

    Args:
        name: Title of the image; a long one is cut at its beginning.
        image: ``[H, W, 3]`` uint8 RGB.
        labels: ``[H, W]`` indices of all classes, 255 where ignored.
        step_labels: ``[H, W]`` likewise, as the step sees them.

    Raises:
        ValueError: The sizes differ.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    step_labels: np.ndarray

    def __post_init__(self) -> None:
        for kind, labels in (('label map', self.labels), ('labels as the step sees them', self.step_labels)):
            if labels.shape != self.image.shape[:2]:
                raise ValueError(f'{self.name}: the image has height and width {self.image.shape[:2]}, its {kind} '
                                 f'{labels.shape}. Mend the file that is of the wrong size.')


def draw_contact_sheet(rows: Sequence[SheetRow], classes: Sequence[str], palette: Palette, title: str,
                       out: PathLike) -> Path:
    """Draw a row per image: the image, all of its labels, what the step sees.

    Args:
        rows: At least one.
        classes: Name of each class in the label maps.
        palette: RGB of each class.
        title: Of the whole picture.
        out: The picture to write; its suffix sets the format.

    Returns:
        ``out`` as a path.

    Raises:
        ValueError: There is no row, or a label has no colour.
    """
    return saved(contact_sheet_figure(rows, classes, palette, title), out)


def contact_sheet_figure(rows: Sequence[SheetRow], classes: Sequence[str], palette: Palette, title: str) -> Figure:
    """The figure of :func:`draw_contact_sheet`."""
    if not rows:
        raise ValueError('rows: got no row to draw, expected at least one.')
    pictures = [[(row.name if len(row.name) <= LONGEST_NAME else f'...{row.name[-LONGEST_NAME:]}', row.image),
                 ('all labels', colourise(row.labels, palette)), ('what the step sees', colourise(row.step_labels, palette))]
                for row in rows]
    legend = class_patches([labels for row in rows for labels in (row.labels, row.step_labels)], classes, palette)
    return rows_figure(pictures, CELL, legend, title)
