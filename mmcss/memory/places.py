"""Finds remembered images: in the data set of the step, or where they were chosen."""
from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Dict, List, Sequence

from mmengine.dataset import BaseDataset
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import get

from ..datasets.labelled_images import LabelledImages
from ..datasets.readers import LabelReader
from ..datasets.sources import image_names
from .exemplar import Exemplar

ADVICE = ('keep the images that memory.json names, or remember copies (continual.memory.export=True) and train the step '
          'before again')


def digest_of(leaf: BaseDataset, image: str, labels: str) -> str:
    """Identifies an image wherever it lies: a digest of the bytes of its file and its label map.

    Args:
        leaf: A stock data set, whose loader knows how to reach the files.
        image: The image file.
        labels: The file of its label map.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in (image, labels):
        try:
            content = get(path, LabelReader(leaf).backend_args)
        except (OSError, KeyError, ImportError, ValueError):
            content = path.encode()  # no file, but something that a custom loader understands
        digest.update(f'{len(content)}:'.encode() + content)
    return digest.hexdigest()


class Places:
    """Finds remembered images by their content in the data set of a step."""

    def __init__(self, images: LabelledImages) -> None:
        self.images = images
        self._numbers: Dict[int, Dict[str, int]] = {}

    def numbers(self, leaf: int) -> Dict[str, int]:
        """Number of each image of a leaf by name (:func:`image_name`)."""
        if leaf not in self._numbers:
            self._numbers[leaf] = {name: i for i, name in enumerate(image_names(self.images.leaves[leaf]))}
        return self._numbers[leaf]

    def located(self, exemplars: Sequence[Exemplar]) -> List[Exemplar]:
        """Exemplars with the leaf that has them now; None for those that are not in the step's data set.

        The main process searches; all get its result or its error.

        Raises:
            FileNotFoundError: An image is neither in the data set nor where it was chosen.
            ValueError: Another image lies in its place.
        """
        box: List[Any] = [[], None]
        if is_main_process():
            try:
                with ThreadPoolExecutor(8) as pool:
                    box[0] = list(pool.map(self._locate, exemplars))
            except (FileNotFoundError, ValueError) as error:
                box[1] = error
        broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def _locate(self, exemplar: Exemplar) -> Exemplar:
        # The leaf of the step before comes first: others may hold the same image.
        for leaf in sorted(set(self.images.first_leaf), key=lambda leaf: leaf != exemplar.leaf):
            image = self.numbers(leaf).get(exemplar.name)
            if image is not None:
                info = self.images.leaves[leaf].get_data_info(image)
                if digest_of(self.images.leaves[leaf], info['img_path'], info['seg_map_path']) == exemplar.source.digest:
                    return replace(exemplar, leaf=leaf)
        if not exemplar.image:
            self._check_source(exemplar)
        return replace(exemplar, leaf=None)

    def _check_source(self, exemplar: Exemplar) -> None:
        """Make sure that the image is still unchanged where it was chosen."""
        source, leaf = exemplar.source, self.images.leaves[0]
        for path in (source.image, source.labels):
            try:
                get(path, LabelReader(leaf).backend_args)
            except OSError as error:
                raise FileNotFoundError(f'the remembered image {exemplar.name} is no longer in the data set, and {path}, from '
                                        f'where it was chosen, can not be read ({type(error).__name__}); {ADVICE}.') from error
        if digest_of(leaf, source.image, source.labels) != source.digest:
            raise ValueError(f'memory.json names the image {source.image}, but that file or its label map {source.labels} '
                             f'has been replaced since; {ADVICE}.')
