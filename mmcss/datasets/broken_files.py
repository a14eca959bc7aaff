"""Finds unusable images and label maps."""
from __future__ import annotations

import io
import os
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.fileio import get
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image, ImageMode, UnidentifiedImageError

from ..arguments import ABSENT
from .map_labels import size_mismatch
from .readers import ImageReader, LabelReader, described

Info = Dict[str, Any]


class BrokenFile(ValueError):
    """A file that can't be used.

    Args:
        kind: 'label map' or 'image'.
        path: The file.
        reason: What is wrong with it, as the rest of a sentence.
    """

    def __init__(self, kind: str, path: str, reason: str) -> None:
        super().__init__(kind, path, reason)  # all, as processes pickle it
        self.kind, self.path, self.reason = kind, path, reason

    def __str__(self) -> str:
        return f'the {self.kind} {self.path} {self.reason}'


class FileCheck:
    """Checks the files of one image, with the loaders of its data set's pipeline.

    Args:
        leaf: The data set.
        images: Whether to open the image files too.
    """

    def __init__(self, leaf: BaseDataset, images: bool) -> None:
        self.labels = LabelReader(leaf)
        self.images: ImageReader = ImageReader(leaf) if images else ABSENT
        # A custom loader may read wide or coloured label maps on purpose.
        self.stock = type(self.labels.loader) is LoadAnnotations

    @property
    def description(self) -> str:
        """How files are read, as text; the result of the check depends on it."""
        return f'{described(self.labels.loader)} {self.images and described(*self.images.loaders)}'

    def __call__(self, info: Info) -> Tuple[np.ndarray, List[BrokenFile]]:
        """The image's row of the presence table (all False if a file is broken), and its broken files."""
        arrays: List[Any] = []
        bad: List[BrokenFile] = []
        for read in (self._labels, self._size) if self.images else (self._labels, ):
            try:
                arrays.append(read(info))
            except BrokenFile as error:
                bad.append(error)
        if len(arrays) == 2 and arrays[1] is not None and arrays[0].shape != arrays[1]:
            bad.append(BrokenFile('image', info['img_path'], size_mismatch(info, arrays[0].shape, arrays[1])))
        row = np.zeros(256, dtype=bool) if bad else np.bincount(arrays[0].ravel(), minlength=256) > 0
        return row, bad

    def _labels(self, info: Info) -> np.ndarray:
        path = info['seg_map_path']
        try:
            labels = self.labels(info)
            bits = self._bits(path)
        except Exception as error:
            missing = f"there is no such file for the image {info['img_path']}"
            raise BrokenFile('label map', path, f'can not be read: {_why(error, missing)}') from error
        if labels.ndim != 2:
            raise BrokenFile('label map', path, f'has shape {labels.shape}, expected a single-channel map of class numbers; '
                             'convert colours to class numbers first')
        if bits > 8 or labels.dtype.itemsize > 1:
            raise BrokenFile('label map', path, f'has {max(bits, 8 * labels.dtype.itemsize)} bits a pixel, of which '
                             'MMSegmentation uses 8; write class numbers of 0 to 255 as 8 bits')
        return labels

    def _bits(self, path: str) -> int:
        """Bits of a pixel in the file, which the stock loader silently cuts to 8."""
        if not self.stock:
            return 8
        try:
            # Of a local file only the header is read.
            source = path if os.path.isfile(path) else io.BytesIO(get(path, self.labels.backend_args))
            with Image.open(source) as opened:
                return 8 * np.dtype(ImageMode.getmode(opened.mode).typestr).itemsize
        except UnidentifiedImageError:  # a format that only the backend of the loader knows
            return 8

    def _size(self, info: Info) -> Optional[Tuple[int, int]]:
        """Height and width of an image as its pipeline loads it, None if the pipeline does not provide them."""
        path = info['img_path']
        try:
            return self.images.size(info)
        except Exception as error:
            raise BrokenFile('image', path, f"can not be read: {_why(error, 'there is no such file')}") from error


def _why(error: Exception, missing: str) -> str:
    if isinstance(error, FileNotFoundError):
        return missing
    if isinstance(error, UnidentifiedImageError):
        return 'it is no image, or its beginning is damaged'
    return f'{type(error).__name__}: {error}'
