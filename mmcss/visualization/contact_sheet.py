"""Training images beside their labels, as files hold them and as a step sees them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..files import PathLike
from .predictions import Palette, class_patches, colourise, rows_figure

CELL = 3.0  # inches that a picture is wide
LONGEST_NAME = 45  # letters that stand above a picture


@dataclass(frozen=True)
class SheetRow:
    """An image and its labels.

    Args:
        name: What stands above the image; of a long one, its end.
        image: ``[H, W, 3]`` uint8 RGB.
        labels: ``[H, W]`` indices of all classes, 255 where ignored.
        seen: ``[H, W]`` as ``labels``: what a step sees of them.

    Raises:
        ValueError: The sizes differ.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    seen: np.ndarray

    def __post_init__(self) -> None:
        for told, labels in (('label map', self.labels), ('labels as the step sees them', self.seen)):
            if labels.shape != self.image.shape[:2]:
                raise ValueError(f'{self.name}: the image has height and width {self.image.shape[:2]}, its {told} '
                                 f'{labels.shape}. Mend the file that is of the wrong size.')


def draw_contact_sheet(rows: Sequence[SheetRow], classes: Sequence[str], palette: Palette, title: str,
                       out: PathLike) -> Path:
    """Draw a row per image: the image, all of its labels, what the step sees.

    Args:
        rows: At least one.
        classes: Name of each class that a label map holds.
        palette: RGB of each class.
        title: Stands above all.
        out: The picture to write; its suffix sets the format.

    Returns:
        ``out`` as a path.

    Raises:
        ValueError: There is no row, or a label has no colour.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet_figure(rows, classes, palette, title).savefig(out, dpi=100)
    return out


def contact_sheet_figure(rows: Sequence[SheetRow], classes: Sequence[str], palette: Palette, title: str) -> Figure:
    """The figure of :func:`draw_contact_sheet`."""
    if not rows:
        raise ValueError('got no row to draw; a contact sheet has at least one image.')
    pictures = [[(row.name if len(row.name) <= LONGEST_NAME else f'...{row.name[-LONGEST_NAME:]}', row.image),
                 ('all labels', colourise(row.labels, palette)), ('what the step sees', colourise(row.seen, palette))]
                for row in rows]
    legend = class_patches([labels for row in rows for labels in (row.labels, row.seen)], classes, palette)
    return rows_figure(pictures, CELL, legend, title)
