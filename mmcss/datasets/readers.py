"""Read a data set's files as its pipeline does."""
from __future__ import annotations

import copy
from typing import Any, Dict, List, Optional, Tuple

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadAnnotations, LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmengine.fileio import get
from PIL import UnidentifiedImageError

from .sources import keep_zero


def find_label_loaders(pipeline: Any) -> List[Tuple[List[Any], int]]:
    """Where a pipeline loads labels, also inside nested pipelines.

    Returns:
        Pairs of a list of transforms and the loader's position in it.
    """
    places: List[Tuple[List[Any], int]] = []
    for name in ('transforms', 'subroutines'):
        transforms = getattr(pipeline, name, None) or []
        transforms = getattr(transforms, 'transforms', transforms)  # some wrappers hold a Compose
        for position, transform in enumerate(transforms):
            if isinstance(transform, LoadAnnotations):
                places.append((transforms, position))
            else:
                places.extend(find_label_loaders(transform))
    return places


class LabelReader:
    """Reads raw label maps of a data set with the loader of its pipeline."""

    def __init__(self, leaf: BaseDataset) -> None:
        places = find_label_loaders(leaf.pipeline)
        if not places:
            raise ValueError(f'the pipeline of {type(leaf).__name__} has no LoadAnnotations; mmcss needs the labels, in the '
                             'test pipeline too. A custom loader has to inherit from it.')
        transforms, position = places[0]
        self.loader = copy.deepcopy(transforms[position])
        self.loader.reduce_zero_label = False
        self.backend_args: Optional[Dict[str, Any]] = getattr(self.loader, 'backend_args', None)

    def __call__(self, info: Dict[str, Any]) -> np.ndarray:
        """``[H, W]`` uint8 label map of one ``get_data_info``."""
        return self.loader(dict(keep_zero(info), seg_fields=[]))['gt_seg_map']


class ImageReader:
    """Reads images of a data set with the first transforms of its pipeline, up to the one that loads the image.

    Files of the stock loader are opened by Pillow, which refuses truncated
    images; OpenCV would fill them up with grey.

    Attributes:
        loaders: The transforms of the pipeline that may be needed.
    """

    def __init__(self, leaf: BaseDataset) -> None:
        transforms = [copy.deepcopy(step) for step in leaf.pipeline.transforms if not isinstance(step, LoadAnnotations)]
        self.stock = bool(transforms) and type(transforms[0]) is LoadImageFromFile
        self.loaders: List[BaseTransform] = transforms[:1] if self.stock else transforms

    def size(self, info: Dict[str, Any]) -> Optional[Tuple[int, int]]:
        """Height and width of the image of one ``get_data_info``; None if a custom loader does not provide them.

        Raises:
            Exception: Of any kind: the file can't be read.
        """
        if not self.stock or self.loaders[0].imdecode_backend == 'tifffile':
            return self._loaded_size(info)
        loader = self.loaders[0]
        try:
            content = get(info['img_path'], loader.backend_args)
            return mmcv.imfrombytes(content, flag=loader.color_type, backend='pillow').shape[:2]
        except UnidentifiedImageError as error:
            try:  # formats that only the loader knows
                return self._loaded_size(info)
            except Exception:
                raise error from None

    def _loaded_size(self, info: Dict[str, Any]) -> Optional[Tuple[int, int]]:
        results: Optional[Dict[str, Any]] = dict(keep_zero(info), seg_fields=[])
        for transform in self.loaders:
            results = transform(results)
            if results is None:
                raise ValueError(f'{type(transform).__name__} of its pipeline returned None')
            if 'img' in results:
                return tuple(results['ori_shape'][:2]) if 'ori_shape' in results else None
        raise ValueError('no transform of its pipeline loads an image')


def described(*transforms: BaseTransform) -> str:
    """Transforms as text, the same in each process; those without a ``__repr__`` by their class."""
    texts = map(repr, transforms)
    return ' '.join(f'{type(transform).__module__}.{type(transform).__qualname__}' if ' at 0x' in text else text
                    for transform, text in zip(transforms, texts))
