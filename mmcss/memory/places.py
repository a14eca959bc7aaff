"""Finds remembered images: among those of the step, or where they were chosen."""
from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence

from mmengine.dataset import BaseDataset
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import get

from ..datasets.labelled_images import LabelledImages
from ..datasets.readers import LabelReader
from ..datasets.sources import file_values, image_name
from .exemplar import Exemplar, Source

ADVICE = ('keep the images that memory.json names, or remember copies (continual.memory.export=True) and train the step '
          'before again')


def digest_of(leaf: BaseDataset, image: str, labels: str) -> str:
    """Identifies an image, wherever it lies: a digest of the bytes of its file and its label map.

    Args:
        leaf: A stock data set whose loader knows how to reach the files.
        image: The image.
        labels: Its label map.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in (image, labels):
        content = _content(path, LabelReader(leaf).backend_args)
        digest.update(f'{len(content)}:'.encode() + content)
    return digest.hexdigest()


def _content(path: str, backend_args: Optional[Dict[str, Any]]) -> bytes:
    try:
        return get(path, backend_args)
    except (OSError, KeyError, ImportError, ValueError):
        # No file, but what a loader of one's own makes something of: it goes by its name.
        return path.encode()


class Places:
    """Finds remembered images, by what they are, among those of a step.

    Args:
        images: The step's data.
    """

    def __init__(self, images: LabelledImages) -> None:
        self.images = images
        # A leaf that is repeated goes by its first number.
        self.first = [next(i for i, other in enumerate(images.leaves) if other is leaf) for leaf in images.leaves]
        self._by_name: Dict[int, Dict[str, int]] = {}

    def number(self, leaf: Optional[int], name: str) -> Optional[int]:
        """Number of an image in its leaf, None if it is not there."""
        if leaf is None or leaf >= len(self.images.leaves):
            return None
        if leaf not in self._by_name:
            stock = self.images.leaves[leaf]
            self._by_name[leaf] = {image_name(stock, stock.get_data_info(i)): i for i in range(len(stock))}
        return self._by_name[leaf].get(name)

    def settled(self, exemplars: Sequence[Exemplar]) -> List[Exemplar]:
        """Exemplars with the leaf of the step's data that has them; None for those of other data.

        The main process looks; all get what it finds, or its error.

        Raises:
            FileNotFoundError: The data set has lost an image.
            ValueError: Another image lies in its place.
        """
        box: List[Any] = [[], None]
        if is_main_process():
            try:
                with ThreadPoolExecutor(8) as pool:
                    box[0] = list(pool.map(self._settle, exemplars))
            except (FileNotFoundError, ValueError) as error:
                box[1] = error
        broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def _settle(self, exemplar: Exemplar) -> Exemplar:
        if exemplar.source is None:
            if not exemplar.image:
                self._check_shows(exemplar)
            return exemplar
        # Its own leaf is tried first: others may hold the same image.
        for leaf in sorted(set(self.first), key=lambda leaf: leaf != exemplar.leaf):
            image = self.number(leaf, exemplar.name)
            if image is not None and self._digest(leaf, image) == exemplar.source.digest:
                return replace(exemplar, leaf=leaf)
        if not exemplar.image:
            self._check_is_there(exemplar)
        return replace(exemplar, leaf=None)

    def _digest(self, leaf: int, image: int) -> str:
        info = self.images.leaves[leaf].get_data_info(image)
        return digest_of(self.images.leaves[leaf], info['img_path'], info['seg_map_path'])

    def _check_shows(self, exemplar: Exemplar) -> None:
        """Make sure that an image which goes by its name alone still shows the classes it is remembered with."""
        image = self.number(exemplar.leaf, exemplar.name)
        if image is None or exemplar.leaf is None:
            raise FileNotFoundError(f'the remembered image {exemplar.name} is no longer in the data set; {ADVICE}.')
        row, raw_ids = self.images.presence[exemplar.leaf][image], self.images.names.raw_ids
        lost = [name for name in exemplar.holds if name not in raw_ids or not row[raw_ids[name]]]
        if lost and row.any():  # else its label map can't be read
            info = self.images.leaves[exemplar.leaf].get_data_info(image)
            raise ValueError(f"memory.json remembers an image {exemplar.name} with {list(exemplar.holds)}, but the label map of "
                             f"{info['img_path']} lacks {lost}: it is another image, or was labelled anew; {ADVICE}.")

    def _check_is_there(self, exemplar: Exemplar) -> None:
        """Make sure that an image of other data is still the remembered one."""
        source, leaf = exemplar.origin, self.images.leaves[0]
        backend_args = LabelReader(leaf).backend_args
        for path in (source.image, source.labels):
            try:
                get(path, backend_args)
            except OSError as error:
                raise FileNotFoundError(f'the remembered image {exemplar.name} is no longer in the data set, nor can {path} be '
                                        f'read ({type(error).__name__}), from where it was chosen; {ADVICE}.') from error
        if digest_of(leaf, source.image, source.labels) != source.digest:
            raise ValueError(f'memory.json remembers the image {source.image}, but that file or its label map '
                             f'{source.labels} is another one by now; {ADVICE}.')


def with_source(images: LabelledImages, exemplar: Exemplar, leaf: BaseDataset, image: int,
                saliency: Optional[str] = None) -> Exemplar:
    """An exemplar of a step's data with what a later step finds it by.

    Args:
        images: The step's data.
        exemplar: The exemplar.
        leaf: The stock data set that it is of.
        image: Its number there.
        saliency: Its saliency map, if there is one.
    """
    info = leaf.get_data_info(image)
    files = str(info['img_path']), str(info['seg_map_path'])
    digest = exemplar.source.digest if exemplar.source else digest_of(leaf, *files)
    return replace(exemplar, source=Source(*files, digest, file_values(images.names, info), saliency))
