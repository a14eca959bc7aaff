"""The predictions of each step for the same images, method under method."""
from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmseg.apis import inference_model, init_model

from ..files import PathLike

IGNORE = 255
# Inches.
CELL, GAP, TITLE, LEGEND_ENTRY, LEGEND_LINE = 1.6, 0.06, 0.25, 1.5, 0.22
FONT_SIZE = 8

Palette = Sequence[Sequence[int]]
Cell = Tuple[str, np.ndarray]


def colourise(label: np.ndarray, palette: Palette) -> np.ndarray:
    """Paint a label map.

    Args:
        label: ``[H, W]`` class indices; 255 becomes white.
        palette: RGB of each class.

    Returns:
        ``[H, W, 3]`` uint8 RGB.

    Raises:
        ValueError: A label has no colour.
    """
    uncoloured = np.setdiff1d(label, [*range(len(palette)), IGNORE])
    if len(uncoloured):
        raise ValueError(f'labels {uncoloured.tolist()} have no colour: the palette has {len(palette)}, for 0 to '
                         f'{len(palette) - 1}. Map the label map to the classes of the palette first.')
    colours = np.full((IGNORE + 1, 3), 255, np.uint8)
    colours[:len(palette)] = palette
    return colours[label]


def draw_predictions(images: Sequence[np.ndarray], truths: Sequence[np.ndarray],
                     predictions: Mapping[str, Sequence[Sequence[np.ndarray]]], classes: Sequence[str],
                     palette: Palette, out: PathLike) -> Path:
    """Draw predictions across steps: for each image one row per method of image, truth, step 0, step 1, ….

    Args:
        images: ``[H, W, 3]`` uint8 RGB each.
        truths: ``[H, W]`` class indices each, 255 where ignored.
        predictions: ``predictions[method][step][image]``: ``[H, W]`` class
            indices. A step without images stays blank.
        classes: Name of each class.
        palette: RGB of each class.
        out: The picture to write; its suffix sets the format.

    Returns:
        ``out`` as a path.

    Raises:
        ValueError: The numbers or sizes of the maps and images differ, or a
            label has no colour.
    """
    return saved(prediction_figure(images, truths, predictions, classes, palette), out)


def prediction_figure(images: Sequence[np.ndarray], truths: Sequence[np.ndarray],
                      predictions: Mapping[str, Sequence[Sequence[np.ndarray]]], classes: Sequence[str],
                      palette: Palette) -> Figure:
    """The figure of :func:`draw_predictions`."""
    _check(images, truths, predictions)
    rows = [_row(index, image, truth, method, steps, palette)
            for index, (image, truth) in enumerate(zip(images, truths)) for method, steps in predictions.items()]
    predicted = (label for steps in predictions.values() for step in steps for label in step)
    return rows_figure(rows, CELL, class_patches([*truths, *predicted], classes, palette))


def rows_figure(rows: Sequence[Sequence[Cell]], cell: float, legend: Sequence[Patch], title: str = '') -> Figure:
    """Rows of pictures with their titles, above a legend; all places are set in inches, so that cells keep the images' shape.

    Args:
        rows: Of titles and ``[H, W, 3]`` uint8 RGB; pictures of a row have the same size, or no pixels and stay blank.
        cell: Width of a picture with its margin, in inches.
        legend: Its entries.
        title: Of the whole figure.
    """
    heights = [(cell - GAP) * row[0][1].shape[0] / row[0][1].shape[1] for row in rows]
    width = cell * max(map(len, rows))
    legend_columns = max(1, int(width / LEGEND_ENTRY))
    above = TITLE * (1 + title.count('\n')) if title else 0
    height = above + sum(heights) + TITLE * len(heights) + GAP + LEGEND_LINE * (1 + math.ceil(len(legend) / legend_columns))
    top = height - above
    # Not through pyplot: it would keep the figure, and ask for a display.
    figure = Figure(figsize=(width, height))
    for row, row_height in zip(rows, heights):
        top -= TITLE + row_height
        for column, (name, picture) in enumerate(row):
            if picture.size:
                place = ((column * cell + GAP / 2) / width, top / height, (cell - GAP) / width, row_height / height)
                axes = figure.add_axes(place, xticks=[], yticks=[])
                # Nearest: a blend of two classes' colours may be that of a third.
                axes.imshow(picture, interpolation='nearest', aspect='auto')
                axes.set_title(name, fontsize=FONT_SIZE, pad=2)
    figure.suptitle(title, fontsize=FONT_SIZE + 2)
    figure.legend(handles=legend, loc='lower center', ncols=legend_columns, fontsize=FONT_SIZE, frameon=False)
    return figure


def saved(figure: Figure, out: PathLike) -> Path:
    """Write a figure to a file, and its folder if it is missing; returns the file's path."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
    return out


def name_table(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """``[256]`` uint8: index in ``classes`` of each index of ``names``, 255 where there is none."""
    table = np.full(256, IGNORE, np.uint8)
    for index, name in enumerate(names):
        if name in classes:
            table[index] = classes.index(name)
    return table


def trained_steps(work_dir: PathLike) -> Dict[int, Path]:
    """Folders ``step_k`` with ``deploy.py`` and ``step_k.pth``, by ascending step.

    Raises:
        FileNotFoundError: There is none.
    """
    folders: Dict[int, Path] = {}
    for folder in Path(work_dir).glob('step_*'):
        match = re.fullmatch(r'step_(\d+)', folder.name)
        if match and (folder / 'deploy.py').is_file() and (folder / f'{folder.name}.pth').is_file():
            folders[int(match[1])] = folder
    if not folders:
        raise FileNotFoundError(f'{work_dir} holds no step_k with deploy.py and step_k.pth. '
                                'Give the work_dir of a run that has finished a step.')
    return dict(sorted(folders.items()))


def predict_steps(work_dir: PathLike, image_files: Sequence[PathLike], device: str = 'cpu') -> List[List[np.ndarray]]:
    """Segment images on ``device`` with the model of each step, as stock MMSegmentation does.

    Returns:
        For step 0, 1, … to the last trained one, a ``[H, W]`` uint8 label map per image; an empty list for a missing step.

    Raises:
        FileNotFoundError: ``work_dir`` has no trained step.
    """
    folders = trained_steps(work_dir)
    return [_predict(folders[step], image_files, device) if step in folders else []
            for step in range(max(folders) + 1)]


def _predict(folder: Path, image_files: Sequence[PathLike], device: str) -> List[np.ndarray]:
    model = init_model(str(folder / 'deploy.py'), str(folder / f'{folder.name}.pth'), device=device)
    # One by one: images of different sizes don't fit into one batch.
    results = [inference_model(model, str(file)) for file in image_files]
    return [result.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8) for result in results]


def _check(images: Sequence[np.ndarray], truths: Sequence[np.ndarray],
           predictions: Mapping[str, Sequence[Sequence[np.ndarray]]]) -> None:
    if not images or not predictions:
        raise ValueError(f'got {len(images)} images and predictions of {len(predictions)} methods, expected at least one '
                         'of each.')
    maps_by_name = {'truths': truths}
    for method, steps in predictions.items():
        maps_by_name.update({f'predictions of {method} step {step}': maps for step, maps in enumerate(steps) if len(maps)})
    sizes = [image.shape[:2] for image in images]
    for name, maps in maps_by_name.items():
        if [label.shape for label in maps] != sizes:
            raise ValueError(f'{name}: got label maps of sizes {[label.shape for label in maps]}, expected those of the '
                             f'images, {sizes}.')


def _row(index: int, image: np.ndarray, truth: np.ndarray, method: str, steps: Sequence[Sequence[np.ndarray]],
         palette: Palette) -> List[Cell]:
    """Titles and RGB pictures of a row; the picture of a missing step has no pixels."""
    cells = [('image', image), ('ground truth', colourise(truth, palette))]
    for step, maps in enumerate(steps):
        picture = colourise(maps[index], palette) if len(maps) else np.empty((0, 0, 3), np.uint8)
        cells.append((f'{method} step {step}', picture))
    return cells


def class_patches(maps: Iterable[np.ndarray], classes: Sequence[str], palette: Palette) -> List[Patch]:
    """Legend entries of the classes in label maps alone: all 150 of a large data set would be unreadable."""
    shown = np.unique(np.concatenate([np.unique(labels) for labels in maps]))
    return [Patch(facecolor=colour, edgecolor='grey', label='ignored' if index == IGNORE else classes[index])
            for index, colour in zip(shown, colourise(shown, palette) / 255)]
