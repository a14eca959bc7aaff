"""The images of a data set and which classes they hold."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple, Union

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ..scenario import IGNORE, Protocol, Split, TrainView
from .presence import presence_table
from .saliency import saliency_path
from .sources import ClassNames, image_name, leaves_of, name_classes

View = Union[TrainView, Protocol]


class LabelledImages:
    """A stock data set with its presence tables, from which steps are selected.

    Args:
        dataset: Stock data set or its config; ConcatDataset and RepeatDataset
            of stock data sets too.

    Raises:
        ValueError: A label map holds a value that no class has (file and
            value), or can't be read.
    """

    def __init__(self, dataset: Union[BaseDataset, Mapping[str, Any]]) -> None:
        dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        dataset.full_init()
        self.leaves: List[BaseDataset] = leaves_of(dataset)
        # A repeated leaf stands in the list several times; look at each once.
        unique = {id(leaf): leaf for leaf in self.leaves}
        self.names = _common_names(list(unique.values()))
        tables = {key: self._checked(leaf) for key, leaf in unique.items()}
        self.presence = [tables[id(leaf)] for leaf in self.leaves]

    def _checked(self, leaf: BaseDataset) -> np.ndarray:
        presence = presence_table(leaf)
        known = np.zeros(256, dtype=bool)
        known[[*self.names.raw_ids.values(), IGNORE]] = True
        wrong = presence & ~known
        if wrong.any():
            image = int(np.flatnonzero(wrong.any(axis=1))[0])
            raise ValueError(f"{leaf.get_data_info(image)['seg_map_path']} holds the label values "
                             f'{np.flatnonzero(wrong[image]).tolist()}, but {type(leaf).__name__} has classes for '
                             f'{sorted(self.names.raw_ids.values())} and {IGNORE} to ignore. '
                             'Mend the file, or name all classes in metainfo.')
        return presence

    def select(self, view: View, split: Split, complete: bool = True) -> np.ndarray:
        """The images that a step sees.

        Args:
            view: Training or test view.
            split: The step.
            complete: Whether training needs an image of each new class; not
                for a step that is not trained, whose data may be gone.

        Returns:
            ``[images, 2]`` int: number of the leaf, and of the image in it.

        Raises:
            ValueError: The data set does not know a class of the scenario, or
                the view is of training and a new class has no image.
        """
        unknown = [name for name in split.foreground(split.seen + split.future) if name not in self.names.raw_ids]
        if unknown:
            raise ValueError(f'{type(self.leaves[0]).__name__} does not know the classes {unknown} of the scenario, only '
                             f'{list(self.names.foreground)}. Give train and test data the same metainfo.')
        chosen = [view.select(presence, split, self.names.raw_ids) for presence in self.presence]
        if complete and isinstance(view, TrainView):
            self._check_each_class(chosen, view, split)
        return np.concatenate(
            [np.stack((np.full_like(images, leaf), images), axis=1) for leaf, images in enumerate(chosen)])

    def saliency_maps(self, chosen: np.ndarray, folder: str) -> List[Tuple[str, str]]:
        """Pairs of an image and its saliency map.

        Args:
            chosen: Of :meth:`select`.
            folder: See :func:`saliency_path`.
        """
        pairs = []
        for number, image in chosen.tolist():
            leaf = self.leaves[number]
            info = leaf.get_data_info(image)
            pairs.append((info['img_path'], saliency_path(leaf, folder, image_name(leaf, info))))
        return pairs

    def _check_each_class(self, chosen: List[np.ndarray], view: TrainView, split: Split) -> None:
        counts: Dict[str, int] = {
            name: sum(int(presence[images, self.names.raw_ids[name]].sum())
                      for presence, images in zip(self.presence, chosen))
            for name in split.foreground(split.new)
        }
        absent = [name for name, count in counts.items() if count == 0]
        if absent:
            raise ValueError(f'step {split.step} has {sum(map(len, chosen))} training images, but none with {absent} '
                             f"(regime '{view.regime}'). Take these classes out of the scenario, put them into another "
                             'step, or choose another regime.')


def _common_names(leaves: List[BaseDataset]) -> ClassNames:
    named = [name_classes(leaf.metainfo['classes'], getattr(leaf, 'reduce_zero_label', False)) for leaf in leaves]
    if any(names != named[0] for names in named):
        raise ValueError('the concatenated data sets have different classes: '
                         f'{[list(names.foreground) for names in named]}.')
    return named[0]
