"""Training images beside their labels, as files hold them and as a step sees them."""
from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..files import PathLike
from .predictions import FONT_SIZE, LEGEND_ENTRY, LEGEND_LINE, TITLE, Palette, class_patches, colourise

CELL = 3.0  # inches that a picture is wide
COLUMNS = 3
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
    shapes = [row.image.shape[0] / row.image.shape[1] for row in rows]
    handles = class_patches([labels for row in rows for labels in (row.labels, row.seen)], classes, palette)
    legend_columns = int(COLUMNS * CELL / LEGEND_ENTRY)
    around = TITLE * (2 + title.count('\n')) + LEGEND_LINE * (1 + math.ceil(len(handles) / legend_columns))
    height = around + sum(TITLE + CELL * shape for shape in shapes)
    # Not through pyplot: it would keep the figure, and ask for a display.
    figure = Figure(figsize=(COLUMNS * CELL, height), layout='constrained')
    places = figure.subplots(len(rows), COLUMNS, squeeze=False, subplot_kw=dict(xticks=[], yticks=[]),
                             gridspec_kw=dict(height_ratios=shapes))
    for axes, row in zip(places, rows):
        name = row.name if len(row.name) <= LONGEST_NAME else f'...{row.name[-LONGEST_NAME:]}'
        pictures = {name: row.image, 'all labels': colourise(row.labels, palette),
                    'what the step sees': colourise(row.seen, palette)}
        for cell, (told, picture) in zip(axes, pictures.items()):
            # Nearest: a blend of two classes' colours may be a third one's.
            cell.imshow(picture, interpolation='nearest')
            cell.set_title(told, fontsize=FONT_SIZE, pad=2)
    figure.suptitle(title, fontsize=FONT_SIZE + 2)
    figure.legend(handles=handles, loc='outside lower center', ncols=legend_columns, fontsize=FONT_SIZE, frameon=False)
    return figure
