"""The images of a data set and which classes they hold."""
from __future__ import annotations

from typing import Any, List, Mapping, Optional, Tuple, Union

import numpy as np
from mmengine.dataset import BaseDataset

from ..scenario import Domains, Protocol, Split, TrainView
from ..scenario.partitions import kept_for_tests
from .class_names import ClassNames, name_classes
from .domains import DomainImages, names_of_domains
from .label_values import ignored_values, other_numbers, without_classes
from .lists import check_list, listed_as, read_names
from .presence import Broken, presence_table
from .saliency import saliency_path
from .sources import image_name, image_names, leaves_of, open_dataset

View = Union[TrainView, Protocol]


class LabelledImages:
    """A stock data set with its presence tables, from which steps are selected.

    Args:
        dataset: Stock data set or its config; ConcatDataset and RepeatDataset
            of stock data sets too.
        skip_broken: Leave out images whose files can't be read, instead of
            raising an error, and list these files in ``broken``.

    Attributes:
        leaves: The stock data sets; a repeated one occurs several times.
        first_leaf: For each leaf the first number of that data set in ``leaves``.
        presence: For each leaf ``[images, 256]`` bool (:func:`presence_table`).
        names: The names of the classes, the same in all leaves.
        broken: With ``skip_broken`` the files that can't be used; else None.

    Raises:
        ValueError: A label map holds a value that no class has (file and
            value), or can't be read; all hold only ignored values; the stock
            data set would misread the list of its images.
    """

    def __init__(self, dataset: Union[BaseDataset, Mapping[str, Any]], skip_broken: bool = False) -> None:
        dataset = open_dataset(dataset) if isinstance(dataset, Mapping) else dataset
        dataset.full_init()
        self.leaves: List[BaseDataset] = leaves_of(dataset)
        numbers = {id(leaf): number for number, leaf in reversed(list(enumerate(self.leaves)))}
        self.first_leaf = [numbers[id(leaf)] for leaf in self.leaves]
        distinct = {number: self.leaves[number] for number in sorted(set(self.first_leaf))}
        self.names = _common_names(list(distinct.values()))
        self.broken: Optional[Broken] = [] if skip_broken else None
        if not skip_broken:
            for leaf in distinct.values():
                check_list(leaf)
        tables = {number: self._checked_presence(leaf) for number, leaf in distinct.items()}
        self.presence = [tables[number] for number in self.first_leaf]
        problem = without_classes(np.concatenate(list(tables.values())), self.names)
        if problem:
            folders = dict.fromkeys(str(getattr(leaf, 'data_prefix', {}).get('seg_map_path')) for leaf in self.leaves)
            raise ValueError(f'{type(self.leaves[0]).__name__}({", ".join(folders)}): {problem}.')

    def _checked_presence(self, leaf: BaseDataset) -> np.ndarray:
        presence = presence_table(leaf, self.broken)
        known = np.zeros(256, dtype=bool)
        ignored = ignored_values(leaf, self.names)
        known[[*self.names.raw_ids.values(), *ignored]] = True
        wrong = presence & ~known
        if wrong.any():
            image = int(np.flatnonzero(wrong.any(axis=1))[0])
            raise ValueError(f"{leaf.get_data_info(image)['seg_map_path']} holds the label values "
                             f'{np.flatnonzero(wrong[image]).tolist()}, but {type(leaf).__name__} has classes for '
                             f'{sorted(self.names.raw_ids.values())} and ignores {ignored}. '
                             f'Mend the file, or name all classes in metainfo{other_numbers(presence, self.names)}.')
        return presence

    def select(self, view: View, split: Split, complete: bool = True, domains: Optional[Mapping[str, Any]] = None,
               listed: Optional[str] = None, test_share: float = 0.0) -> np.ndarray:
        """The images that a step sees.

        Args:
            view: Training or test view.
            split: The step.
            complete: Whether training needs an image of each new class; not
                for a step that is not trained, whose data may be gone.
            domains: Settings of :class:`DomainImages`, for steps of domains.
            listed: Text file with the training images of the step
                (:func:`read_names`), instead of the regime's rule.
            test_share: Share of the images that tests see and training does
                not (:func:`kept_for_tests`); 0 for all in both.

        Returns:
            ``[images, 2]`` int: number of the leaf, and of the image in it.

        Raises:
            ValueError: The data set does not know a class of the scenario, or
                a new class has no training image.
        """
        # Training data may have only the new classes, with the others as background.
        needed = split.new + view.labelled_classes(split) if isinstance(view, TrainView) else split.seen + split.future
        unknown = [name for name in split.foreground(tuple(dict.fromkeys(needed))) if name not in self.names.raw_ids]
        if unknown:
            raise ValueError(f'{type(self.leaves[0]).__name__} does not know the classes {unknown} of the scenario, only '
                             f'{list(self.names.foreground)}. Name them in its metainfo, with the numbers that its '
                             'label maps have.')
        if split.domains is not None:
            chosen = self._of_domains(view, split.step, split.domains, domains or {}, complete)
        elif listed is not None and isinstance(view, TrainView):
            chosen = self._listed(listed, complete)
        else:
            chosen = [view.select(presence, split, self.names.raw_ids) for presence in self.presence]
        if test_share:
            chosen = self._parted(chosen, test_share, isinstance(view, Protocol))
        if self.broken:  # every label map holds some value: one that holds none could not be read
            chosen = [images[presence[images].any(axis=1)] for images, presence in zip(chosen, self.presence)]
        if complete and isinstance(view, TrainView) and split.domains is None:
            self._check_each_class(chosen, view, split)
        return np.concatenate(
            [np.stack((np.full_like(images, leaf), images), axis=1) for leaf, images in enumerate(chosen)])

    def domain_names(self, rule: Any, domains: Domains) -> List[str]:
        """The images of all leaves by names that contain their domains."""
        distinct = sorted(set(self.first_leaf))
        names = names_of_domains([image_names(self.leaves[number]) for number in distinct], rule, domains)
        with_domains = dict(zip(distinct, names))
        return [name for number in self.first_leaf for name in with_domains[number]]

    def _by_leaf(self, chosen: np.ndarray) -> List[np.ndarray]:
        """Numbers of the chosen images in each leaf, of ``[images]`` bool over all leaves."""
        ends = np.cumsum([len(presence) for presence in self.presence])[:-1]
        return [np.flatnonzero(part) for part in np.split(chosen, ends)]

    def _of_domains(self, view: View, step: int, domains: Domains, settings: Mapping[str, Any],
                    complete: bool) -> List[np.ndarray]:
        training = isinstance(view, TrainView)
        names = self.domain_names(settings.get('rule'), domains)
        chosen = DomainImages(**settings).chosen(names, domains, training, getattr(view, 'images', 'seen') == 'all', complete)
        if training and complete and not chosen.any():
            raise ValueError(f'step {step} has no training image of the domains {list(domains.new)}.')
        return self._by_leaf(chosen)

    def _parted(self, chosen: List[np.ndarray], test_share: float, tested: bool) -> List[np.ndarray]:
        """Of the chosen images those that are kept for tests, or the others."""
        def wanted(leaf: BaseDataset, image: int) -> bool:
            return kept_for_tests(image_name(leaf, leaf.get_data_info(image)), test_share) == tested

        return [images[np.array([wanted(leaf, int(image)) for image in images], dtype=bool)]
                for leaf, images in zip(self.leaves, chosen)]

    def _listed(self, file: str, complete: bool) -> List[np.ndarray]:
        names = [name for leaf in self.leaves for name in image_names(leaf)]
        wanted = set(read_names(file))
        matches = [next((spelling for spelling in listed_as(name) if spelling in wanted), None) for name in names]
        missing = sorted(wanted - set(matches))
        if missing and complete:
            raise ValueError(f'{file} lists {len(missing)} images that the data set does not have, such as {missing[0]!r}; its '
                             f"images are named like {names[0] if names else '(none)'!r}.")
        return self._by_leaf(np.array([match is not None for match in matches], dtype=bool))

    def saliency_maps(self, chosen: np.ndarray, folder: str) -> List[Tuple[str, str]]:
        """Pairs of an image and its saliency map.

        Args:
            chosen: Images, as :meth:`select` returns them.
            folder: See :func:`saliency_path`.
        """
        pairs = []
        for number, image in chosen.tolist():
            leaf = self.leaves[number]
            info = leaf.get_data_info(image)
            pairs.append((info['img_path'], saliency_path(leaf, folder, image_name(leaf, info))))
        return pairs

    def _check_each_class(self, chosen: List[np.ndarray], view: TrainView, split: Split) -> None:
        names = split.foreground(split.new)
        raw = [self.names.raw_ids[name] for name in names]
        shown = np.any([presence[images[:, None], raw].any(axis=0) for images, presence in zip(chosen, self.presence)], axis=0)
        absent = [name for name, has_image in zip(names, shown) if not has_image]
        if absent:
            raise ValueError(f'step {split.step} has {sum(map(len, chosen))} training images, but none with {absent} '
                             f"(regime '{view.regime}'). Take these classes out of the scenario, move them to another "
                             'step, choose another regime, or restore their images.')


def _common_names(leaves: List[BaseDataset]) -> ClassNames:
    named = [name_classes(leaf.metainfo['classes'], getattr(leaf, 'reduce_zero_label', False)) for leaf in leaves]
    if any(names != named[0] for names in named):
        raise ValueError('the concatenated data sets have different classes: '
                         f'{[list(names.foreground) for names in named]}.')
    return named[0]
