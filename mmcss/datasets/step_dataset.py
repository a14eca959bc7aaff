"""The images and labels of one step."""
from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Tuple, TypeVar, Union

import numpy as np
import torch
from mmengine.dataset import BaseDataset, Compose
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..scenario import IGNORE, Protocol, Split, TrainView
from .domains import domain_reader
from .labelled_images import LabelledImages, View
from .map_labels import LoadLabels, MapLabels
from .readers import find_label_loaders
from .saliency import MarkUnknown, saliency_path
from .sources import image_name, keep_zero

VIEWS = {'train': TrainView, 'test': Protocol}
MAX_REFETCH = 1000

T = TypeVar('T', bound='StepDataset')


@DATASETS.register_module()
class StepDataset(Dataset[Any]):
    """A stock data set as a step sees it: chosen images, mapped labels.

    It is the outermost data set and has the metainfo: ``classes`` and
    ``palette`` of the seen classes in learning order; ``split``,
    ``score_background`` and ``absent`` for the metric.

    Args:
        dataset, skip_broken: See :class:`LabelledImages`.
        split: The step, or its :meth:`Split.to_dict`.
        view: A :class:`TrainView` or, for tests, a :class:`Protocol`; or
            ``dict(role='train', ...)`` or ``dict(role='test', ...)`` with
            their fields.
        min_length: Repeat the images up to this length, so that a step with
            few images fills a batch.
        saliency: Folder of saliency maps, for a view whose unknown is
            'saliency'.
        domains, listed, test_share: See :meth:`LabelledImages.select`.

    Raises:
        ValueError: See :class:`LabelledImages`.
    """

    # Besides the metainfo, MMSegmentation's tools read these.
    ignore_index = IGNORE
    reduce_zero_label = False

    def __init__(self, dataset: Union[BaseDataset, Mapping[str, Any]], split: Union[Split, Mapping[str, Any]],
                 view: Union[View, Mapping[str, Any]] = TrainView(), min_length: int = 0, saliency: Optional[str] = None,
                 domains: Optional[Mapping[str, Any]] = None, listed: Optional[str] = None, test_share: float = 0.0,
                 skip_broken: bool = False) -> None:
        self.images = LabelledImages(dataset, skip_broken)
        self.split = split if isinstance(split, Split) else Split.from_dict(split)
        self.view = build_view(view) if isinstance(view, Mapping) else view
        self.index = self.images.select(self.view, self.split, domains=domains, listed=listed, test_share=test_share)
        # In tests each image has its domain, by which the metric separates them.
        self.domains: Optional[List[Optional[str]]] = None
        if domains and self.split.domains is not None and isinstance(self.view, Protocol):
            names = self.images.domain_names(domains['rule'], self.split.domains)
            starts = np.cumsum([0, *map(len, self.images.presence)])
            domain_of = domain_reader(domains['rule'])
            self.domains = [domain_of(names[starts[leaf] + image]) for leaf, image in self.index.tolist()]
        self.num_images = len(self.index)
        if 0 < self.num_images < min_length:
            self.index = np.resize(self.index, (min_length, 2))
        self.saliency = saliency
        self.pipelines = self._mapping_pipelines()

    def each_once(self) -> np.ndarray:
        """Numbers of the step's images, ascending, each image once even if the stock data set repeats it."""
        rows = self.index[:self.num_images].copy()
        rows[:, 0] = np.array(self.images.first_leaf)[rows[:, 0]]
        return np.sort(np.unique(rows, axis=0, return_index=True)[1])

    def viewed(self: T, changes: Mapping[str, Any]) -> T:
        """The same images with other labels; ``changes`` are fields of the view to replace."""
        if not changes:
            return self
        other = copy.copy(self)
        other.view = replace(self.view, **changes)
        other.pipelines = other._mapping_pipelines()
        return other

    def _mapping_pipelines(self) -> List[Compose]:
        """The pipeline of each leaf with the look-up right after each loader of labels."""
        mapping = [MapLabels(self.view.table(self.split, self.images.names.raw_ids))]
        if self.saliency is not None:
            mapping.append(MarkUnknown(self.split.unknown))
        # Copies: the stock data set may serve other steps as well.
        pipelines = {number: copy.deepcopy(self.images.leaves[number].pipeline) for number in set(self.images.first_leaf)}
        for pipeline in pipelines.values():
            for transforms, position in reversed(find_label_loaders(pipeline)):
                loader = transforms[position]
                loader.reduce_zero_label = False
                loading = [loader] if type(loader) is LoadAnnotations else [LoadLabels(loader)]
                transforms[position:position + 1] = loading + mapping
        return [pipelines[number] for number in self.images.first_leaf]

    @property
    def metainfo(self) -> Dict[str, Any]:
        """Plain metainfo of the step, as checkpoints and evaluators need it."""
        stock = self.images.leaves[0].metainfo
        colours = dict(zip(self.images.names.listed, stock.get('palette') or []))
        return dict(
            classes=self.split.seen,
            palette=[list(map(int, colours.get(name, (0, 0, 0)))) for name in self.split.seen],
            split=self.split.to_dict(),
            score_background=getattr(self.view, 'background', True),
            absent=getattr(self.view, 'absent', 'stock'))

    METAINFO = metainfo  # the name in stock data sets

    def full_init(self) -> None:
        """Does nothing; mmengine calls it on every data set."""

    def get_data_info(self, idx: int) -> Dict[str, Any]:
        """The stock data set's record of an image."""
        return self.locate(idx)[1]

    def locate(self, idx: int) -> Tuple[int, Dict[str, Any]]:
        """Number of the leaf whose pipeline loads an image, and what to load."""
        leaf, image = self.index[idx]
        info = keep_zero(self.images.leaves[leaf].get_data_info(int(image)))
        if self.saliency is not None:
            stock = self.images.leaves[leaf]
            info['saliency_path'] = saliency_path(stock, self.saliency, image_name(stock, info))
        return leaf, info

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, idx: int) -> Any:
        data = self._prepare(idx)
        if data is None and isinstance(self.view, Protocol):
            raise ValueError(f"{self.get_data_info(idx)['img_path']}: the test pipeline returned no data, but every image has "
                             'to be tested. Look for a transform that returns None.')
        # If a pipeline gives up, another image is drawn, as by the stock data set, but one of this step.
        for _ in range(MAX_REFETCH):
            if data is not None:
                return data
            data = self._prepare(np.random.randint(len(self)))
        raise RuntimeError(f'the pipeline returned no data in {MAX_REFETCH} tries; look for a transform that returns None.')

    def _prepare(self, idx: int) -> Optional[Any]:
        data = self.load(*self.locate(idx))
        if self.domains is not None and data is not None:
            samples = data['data_samples']  # a list with test-time augmentation
            for sample in samples if isinstance(samples, list) else [samples]:
                sample.set_metainfo(dict(domain=self.domains[idx]))
        if isinstance(self.view, TrainView):
            return with_labelled_classes(data, self.split, self.view.labelled_classes(self.split), sample_idx=int(idx))
        return data

    def load(self, leaf: int, info: Dict[str, Any]) -> Any:
        """Run the pipeline of a leaf on an image; None if it gives up.

        Raises:
            ValueError: It can't be loaded; names the file.
        """
        try:
            return self.pipelines[leaf](info)
        except Exception as error:
            raise ValueError(f"{info['img_path']} can not be loaded: {type(error).__name__}: {error}") from error


def with_labelled_classes(data: Any, split: Split, labelled: Tuple[str, ...], **metainfo: int) -> Any:
    """Data whose sample has ``labelled`` (``[C]`` bool): which of the seen classes, if foreground, it is labelled with."""
    if isinstance(data, dict) and 'data_samples' in data:
        sample, known = data['data_samples'], set(split.foreground(labelled))
        sample.set_metainfo(metainfo)
        sample.labelled = torch.tensor([name in known for name in split.seen])
    return data


def build_view(view: Mapping[str, Any]) -> View:
    """A view from its config (:class:`StepDataset`)."""
    fields = dict(view)
    role = fields.pop('role', None)
    if role not in VIEWS:
        raise ValueError(f'StepDataset.view.role: got {role!r}, valid are {", ".join(VIEWS)}.')
    return VIEWS[role](**fields)
