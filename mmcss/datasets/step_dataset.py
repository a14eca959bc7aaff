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

from ..scenario import IGNORE, Domains, Protocol, Split, TrainView
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
    """A stock data set as one step sees it: chosen images, mapped labels.

    Stands outermost and owns the metainfo: ``classes`` and ``palette`` are
    those of the seen classes in learning order; ``split`` and
    ``score_background`` tell the metric what to report.

    Args:
        dataset: See :class:`LabelledImages`.
        split: The step, or its :meth:`Split.to_dict`.
        view: A :class:`TrainView` (by default in the overlapped regime), or
            a :class:`Protocol` for tests; or ``dict(role='train', ...)`` and
            ``dict(role='test', ...)`` with the fields of these.
        min_length: Repeat the images up to this length, so that a step of few
            images fills a batch.
        saliency: Folder of saliency maps, for a view whose unknown is
            'saliency'.
        domains: See :meth:`LabelledImages.select`.
        listed: Likewise.
        skip_broken: See :class:`LabelledImages`.

    Raises:
        ValueError: See :class:`LabelledImages`.
    """

    # What MMSegmentation's tools read of its data sets beside the metainfo.
    ignore_index = IGNORE
    reduce_zero_label = False

    def __init__(self,
                 dataset: Union[BaseDataset, Mapping[str, Any]],
                 split: Union[Split, Mapping[str, Any]],
                 view: Union[View, Mapping[str, Any]] = TrainView(),
                 min_length: int = 0,
                 saliency: Optional[str] = None,
                 domains: Optional[Mapping[str, Any]] = None,
                 listed: Optional[str] = None,
                 skip_broken: bool = False) -> None:
        self.images = LabelledImages(dataset, skip_broken)
        self.split = split if isinstance(split, Split) else Split.from_dict(split)
        self.view = build_view(view) if isinstance(view, Mapping) else view
        self.index = self.images.select(self.view, self.split, domains=domains, listed=listed)
        # In tests each image tells its domain, for the metric to keep them apart.
        self.domains: Optional[List[Optional[str]]] = None
        if domains and self.split.domains is not None and isinstance(self.view, Protocol):
            self.domains = self._domains_of_images(domains['rule'], self.split.domains)
        self.num_images = len(self.index)
        if 0 < self.num_images < min_length:
            repeats = -(-min_length // self.num_images)
            self.index = np.tile(self.index, (repeats, 1))[:min_length]
        self.saliency = saliency
        self.pipelines = self._mapping_pipelines()

    def each_once(self) -> np.ndarray:
        """Numbers of the step's images, ascending, each image once though the stock data set repeats it."""
        places: Dict[int, int] = {}
        first = [places.setdefault(id(leaf), number) for number, leaf in enumerate(self.images.leaves)]
        rows = self.index[:self.num_images]
        distinct = np.stack((np.array(first)[rows[:, 0]], rows[:, 1]), axis=1)
        return np.sort(np.unique(distinct, axis=0, return_index=True)[1])

    def viewed(self: T, changes: Mapping[str, Any]) -> T:
        """The same images with other labels; ``changes`` are fields of the view to replace."""
        if not changes:
            return self
        other = copy.copy(self)
        other.view = replace(self.view, **changes)
        other.pipelines = other._mapping_pipelines()
        return other

    def _domains_of_images(self, rule: Any, domains: Domains) -> List[Optional[str]]:
        """The domain of each image of the step."""
        names, domain_of = self.images.domain_names(rule, domains), domain_reader(rule)
        starts = np.cumsum([0, *map(len, self.images.presence)])
        return [domain_of(names[starts[leaf] + image]) for leaf, image in self.index.tolist()]

    def _mapping_pipelines(self) -> List[Compose]:
        """The pipeline of each leaf with the look-up right behind each loader of labels."""
        mapping = [MapLabels(self.view.table(self.split, self.images.names.raw_ids))]
        if self.saliency is not None:
            mapping.append(MarkUnknown(self.split.unknown))
        # Copies: the stock data set may serve other steps as well.
        pipelines = {id(leaf): copy.deepcopy(leaf.pipeline) for leaf in self.images.leaves}
        for pipeline in pipelines.values():
            for transforms, position in reversed(find_label_loaders(pipeline)):
                loader = transforms[position]
                loader.reduce_zero_label = False
                loading = [loader] if type(loader) is LoadAnnotations else [LoadLabels(loader)]
                transforms[position:position + 1] = loading + mapping
        return [pipelines[id(leaf)] for leaf in self.images.leaves]

    @property
    def metainfo(self) -> Dict[str, Any]:
        """Plain metainfo of the step, as checkpoints and evaluators take it."""
        stock = self.images.leaves[0].metainfo
        colours = dict(zip(self.images.names.listed, stock.get('palette') or []))
        return dict(
            classes=self.split.seen,
            palette=[list(map(int, colours.get(name, (0, 0, 0)))) for name in self.split.seen],
            split=self.split.to_dict(),
            score_background=getattr(self.view, 'background', True),
            absent=getattr(self.view, 'absent', 'stock'))

    @property
    def METAINFO(self) -> Dict[str, Any]:
        """As :attr:`metainfo`, by the name that stock data sets have it."""
        return self.metainfo

    def full_init(self) -> None:
        """Nothing left to do; the stack calls it on every data set."""

    def get_data_info(self, idx: int) -> Dict[str, Any]:
        """What is known of an image."""
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
            raise ValueError(f"{self.get_data_info(idx)['img_path']}: the test pipeline returned no data, but all images are "
                             'to be tested. Look for a transform that returns None.')
        # Like the stock data set, draw another image where a pipeline gives
        # up, but one of this step.
        for _ in range(MAX_REFETCH):
            if data is not None:
                return data
            data = self._prepare(np.random.randint(len(self)))
        raise RuntimeError(f'the pipeline returned no data in {MAX_REFETCH} tries; look for a transform that returns None.')

    def _prepare(self, idx: int) -> Optional[Any]:
        data = self.load(*self.locate(idx))
        if self.domains is not None and data is not None:
            samples = data['data_samples']  # several of an image that is augmented in tests
            for sample in samples if isinstance(samples, list) else [samples]:
                sample.set_metainfo(dict(domain=self.domains[idx]))
        if isinstance(self.view, TrainView):
            return with_labelled_classes(data, self.split, self.view.labelled_classes(self.split), sample_idx=int(idx))
        return data

    def load(self, leaf: int, info: Dict[str, Any]) -> Any:
        """What the pipeline of a leaf makes of an image; None where it gives up.

        Raises:
            ValueError: It can't be loaded; names the file.
        """
        try:
            return self.pipelines[leaf](info)
        except Exception as error:
            raise ValueError(f"{info['img_path']} can not be loaded: {type(error).__name__}: {error}") from error


def with_labelled_classes(data: Any, split: Split, labelled: Tuple[str, ...], **metainfo: int) -> Any:
    """Data whose sample holds, as ``labelled`` (``[C]`` bool), which seen foreground classes it is labelled with."""
    if isinstance(data, dict) and 'data_samples' in data:
        sample, known = data['data_samples'], set(split.foreground(labelled))
        sample.set_metainfo(metainfo)
        sample.labelled = torch.tensor([name in known for name in split.seen])
    return data


def build_view(view: Mapping[str, Any]) -> View:
    """A view from its config; see :class:`StepDataset`."""
    fields = dict(view)
    role = fields.pop('role', None)
    if role not in VIEWS:
        raise ValueError(f'StepDataset.view.role: got {role!r}, valid are {", ".join(VIEWS)}.')
    return VIEWS[role](**fields)
