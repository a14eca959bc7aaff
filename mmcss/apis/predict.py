"""Segments image files, and writes pictures and label maps."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, NamedTuple, Sequence

import numpy as np
from mmseg.models import BaseSegmentor
from mmseg.registry import TRANSFORMS
from PIL import Image

from ..files import PathLike
from ..visualization import draw_overlay
from .inference import class_indices, inference_model, label_map

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


class Predicted(NamedTuple):
    """What is written of an image.

    Attributes:
        overlay: The image, and the image with the classes' colours over it, above their names.
        labels: PNG of one channel and 8 bits, in the numbers of the data set.
        shares: Share of the image's pixels of each class that is present, largest first.
    """

    overlay: Path
    labels: Path
    shares: Dict[str, float]


def find_images(paths: Sequence[PathLike]) -> Dict[str, Path]:
    """Image files by the names that their results get.

    Args:
        paths: Files, of any suffix; and folders, whose images of the usual suffixes are taken, those in folders below too.

    Returns:
        By name without suffix; of an image in a folder with the folders between.

    Raises:
        FileNotFoundError: A path does not exist, or there is no image.
        ValueError: Two images would get the same name.
    """
    images: Dict[str, Path] = {}
    for given in map(Path, paths):
        if not given.exists():
            raise FileNotFoundError(f'{given} does not exist; expected an image, or a folder of images.')
        found = [given] if given.is_file() else sorted(
            path for path in given.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file())
        for path in found:
            name = str((Path(path.name) if given.is_file() else path.relative_to(given)).with_suffix(''))
            if images.setdefault(name, path).resolve() != path.resolve():
                raise ValueError(f'{images[name]} and {path} would both be written as {name}.png. Segment them one after '
                                 'the other, into different folders.')
    if not images:
        raise FileNotFoundError(f'{", ".join(map(str, paths)) or "the list of images"} holds no image; expected files ending '
                                f'with {", ".join(SUFFIXES)}.')
    return images


def predict_image(model: BaseSegmentor, path: PathLike, name: str, out: PathLike) -> Predicted:
    """Segment an image, and write ``overlays/NAME.png`` and ``labels/NAME.png`` below ``out``.

    Args:
        model: From :func:`init_model`.
        path: The image.
        name: Of what is written.
        out: The folder.

    Raises:
        ValueError: The image can't be read.
    """
    image = _read(model, path)
    prediction = inference_model(model, path)
    indices, meta = class_indices(prediction), model.dataset_meta
    overlay = draw_overlay(image, indices, meta['classes'], meta['palette'], Path(path).name,
                           Path(out, 'overlays', f'{name}.png'))
    labels = Path(out, 'labels', f'{name}.png')
    labels.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map(model, prediction)).save(labels)
    counts = np.bincount(indices.ravel(), minlength=len(meta['classes'])) / indices.size
    order = np.argsort(-counts, kind='stable')
    return Predicted(overlay, labels, {meta['classes'][i]: float(counts[i]) for i in order if counts[i]})


def _read(model: BaseSegmentor, path: PathLike) -> np.ndarray:
    """``[H, W, 3]`` uint8 RGB, by the loader of the model's own pipeline, which may turn photographs."""
    loader: Any = TRANSFORMS.build(dict(model.cfg.test_pipeline[0]))
    try:
        image = loader(dict(img_path=str(path)))['img']
    except Exception as error:  # of whatever library decodes it
        raise ValueError(f'{path} can not be read as an image ({type(error).__name__}: {error}). Mend the file, or leave it '
                         'out.') from error
    return np.ascontiguousarray(image[..., ::-1])
