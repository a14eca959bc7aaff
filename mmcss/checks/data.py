"""Looks at a tree of images and label maps before a run: no model, no training."""
from __future__ import annotations

import copy
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from prettytable import PrettyTable

from ..datasets import ClassNames, LabelledImages, build_view, check_saliency, name_classes, presence_table
from ..datasets.label_values import ignored_values, other_numbers, without_classes
from ..datasets.lists import check_list
from ..datasets.readers import ImageReader
from ..engine import build_scenario, step_config
from ..engine.stated_classes import leaf_configs, with_clean_names
from ..files import plain
from .data_files import absent_places, is_missing, label_maps, more, sizes

ROLES = ('train', 'test')
OVERRIDES = {'first_step': 'step 0', 'next_steps': 'later steps'}


class Part(NamedTuple):
    """A stock data set, and what its label maps hold.

    Attributes:
        leaf: The data set.
        names: Its classes.
        presence: ``[images, 256]`` bool (:func:`presence_table`), all False
            for images with broken files.
        broken: These files, each with what is wrong with it.
    """

    leaf: BaseDataset
    names: ClassNames
    presence: np.ndarray
    broken: List[Tuple[str, str]]


class Parts(NamedTuple):
    """The stock data sets of a role ('train' or 'test') in some steps."""

    role: str
    parts: List[Part]

    def images_of(self, name: str) -> int:
        """How many images show a class."""
        return sum(int(part.presence[:, part.names.raw_ids[name]].sum()) for part in self.parts)


class CheckedImages(LabelledImages):
    """Selects from what is whole, where :class:`LabelledImages` would look at the files again."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.leaves = [part.leaf for part in parts]
        self.names = parts[0].names
        self.presence = [part.presence for part in parts]
        self.broken = [entry for part in parts for entry in part.broken]


class DataChecker:
    """Looks at the data of a config: files, sizes, images of each class and of each step of the scenario.

    Args:
        cfg: The config.
        images: Whether to decode all images as well.

    Attributes:
        problems: What there is to mend, one text each.
        tables: What to print.
    """

    def __init__(self, cfg: Config, images: bool = False) -> None:
        self.cfg = cfg
        self.images = images
        self.problems: List[str] = []
        self.tables: List[PrettyTable] = []
        self.opened: Dict[str, Parts] = {}

    def run(self) -> None:
        """Look at everything that can be looked at."""
        table = PrettyTable(['data', 'images in', 'images', 'label maps', 'without label map', 'without image',
                             'broken', 'sizes of label maps'], align='r')
        self.tables.append(table)
        whole = True
        for role in ROLES:
            data = {key: self._data_of(role, key) for key in OVERRIDES}
            for key, dataset in data.items():
                if text_of(dataset) not in self.opened:
                    where = role if len(set(map(text_of, data.values()))) == 1 else f'{role}, {OVERRIDES[key]}'
                    configs = list(leaf_configs(dataset))
                    parts = [self._part(where, config, table) for config in configs]
                    whole = whole and None not in parts
                    opened = [part for part in parts if part is not None]
                    self._report_missing(where, opened)
                    self.opened[text_of(dataset)] = Parts(role, opened)
        if whole:
            self._count()

    def _data_of(self, role: str, key: str) -> Mapping[str, Any]:
        """The data of step 0 or of the others."""
        merged = Config(copy.deepcopy(self.cfg._cfg_dict.to_dict()))
        merged.merge_from_dict(self.cfg.get(key, {}))
        loader = merged.get(f'{role}_dataloader') or (role == 'test' and merged.get('val_dataloader'))
        if not loader:
            raise SystemExit(f'the config has no {role}_dataloader.')
        return with_clean_names(loader['dataset'])

    def _part(self, role: str, config: Mapping[str, Any], table: PrettyTable) -> Optional[Part]:
        """One stock data set; None if it can't be used."""
        try:
            # An empty one can be opened only if it need not be serialised.
            leaf = DATASETS.build(dict(config, lazy_init=True, serialize_data=False))
            absent = absent_places(getattr(leaf, 'data_prefix', {}), getattr(leaf, 'ann_file', ''))
            if not absent:
                leaf.full_init()
                return self._check_leaf(role, leaf, table)
        except Exception as error:  # any: it is what the report is about
            # Some data sets look for their files when they are made, and don't say which they miss.
            prefix, ann_file, root = config.get('data_prefix', {}), config.get('ann_file', ''), config.get('data_root') or ''
            absent = absent_places({key: os.path.join(root, place) for key, place in prefix.items()},
                                   ann_file and os.path.join(root, ann_file))
            absent = absent or [f"{config.get('type')} in {root} can not be opened: {type(error).__name__}: {error}"]
        self.problems.extend(f'{role}: {text}' for text in absent)
        return None

    def _check_leaf(self, role: str, leaf: BaseDataset, table: PrettyTable) -> Part:
        infos = [leaf.get_data_info(i) for i in range(len(leaf))]
        folder = getattr(leaf, 'data_prefix', {}).get('img_path') or ''
        if not infos:
            self.problems.append(f"{role}: there is no image *{getattr(leaf, 'img_suffix', '')} in {folder}, or none "
                                 'is listed; mend data_prefix.img_path, img_suffix or ann_file')
        try:
            check_list(leaf)
        except ValueError as error:
            self.problems.append(str(error).rstrip('.'))
        broken: List[Tuple[str, str]] = []
        presence = presence_table(leaf, broken, self.images)
        if not self.images and ImageReader(leaf).stock:  # a loader of one's own may read from elsewhere
            gone = [i for i, info in enumerate(infos) if is_missing(info['img_path'])]
            presence[gone] = False
            broken += [(infos[i]['img_path'], 'can not be read: there is no such file') for i in gone]
        self._report_broken(broken)
        unlabelled = sum(is_missing(info['seg_map_path']) for info in infos)
        number, lone = label_maps(leaf)
        if lone:
            self.problems.append(f'{lone[0]} has no image' + more(len(lone)))
        names = name_classes(leaf.metainfo['classes'], getattr(leaf, 'reduce_zero_label', False))
        self._report_values(role, leaf, names, presence)
        table.add_row([role, folder, len(infos), '-' if number is None else number, unlabelled,
                       '-' if number is None else len(lone), len({path for path, _ in broken}), sizes(infos)])
        return Part(leaf, names, presence, broken)

    def _report_broken(self, broken: Sequence[Tuple[str, str]]) -> None:
        """One problem for all files that suffer from the same."""
        groups: Dict[str, List[str]] = {}
        for path, reason in broken:
            groups.setdefault(' '.join(reason.split()[:5]), []).append(f'{path} {reason}')
        self.problems.extend(texts[0] + more(len(texts)) for texts in groups.values())

    def _report_values(self, role: str, leaf: BaseDataset, names: ClassNames, presence: np.ndarray) -> None:
        try:
            known = (*names.raw_ids.values(), *ignored_values(leaf, names))
        except ValueError as error:
            self.problems.append(f'{role}: {error}')
            return
        for value in np.flatnonzero(presence.any(axis=0)).tolist():
            if value not in known:
                images = np.flatnonzero(presence[:, value])
                self.problems.append(
                    f"{leaf.get_data_info(int(images[0]))['seg_map_path']} holds the label value {value}, which is no "
                    f'class of {type(leaf).__name__}; mend the file or name all classes in metainfo{more(len(images))}'
                    f'{other_numbers(presence, names)}')

    def _report_missing(self, role: str, parts: Sequence[Part]) -> None:
        """Data sets that hold no class; a folder of nothing but background may stand beside others."""
        missing = without_classes(np.concatenate([part.presence for part in parts]), parts[0].names) if parts else ''
        if missing:
            folders = dict.fromkeys(str(part.leaf.data_prefix.get('seg_map_path')) for part in parts)
            self.problems.append(f"{role}: {', '.join(folders)}: {missing}")

    def _count(self) -> None:
        """Images of each class and of each step."""
        data = list(self.opened.values())
        # Steps with data of their own may know their own classes alone.
        alike = [data] if len(data) <= len(ROLES) else [[dataset] for dataset in data]
        if any(part.names != parts[0].parts[0].names for parts in alike for dataset in parts for part in dataset.parts):
            self.problems.append('the data sets have different classes; give all of them the same metainfo')
            return
        table = PrettyTable(['class', 'label value', 'train images', 'test images'], align='r')
        for name in dict.fromkeys(name for dataset in data for name in dataset.parts[0].names.raw_ids):
            knowing = [dataset for dataset in data if name in dataset.parts[0].names.raw_ids]
            values = dict.fromkeys(dataset.parts[0].names.raw_ids[name] for dataset in knowing)
            table.add_row([name, ', '.join(map(str, values)),
                           *(sum(dataset.images_of(name) for dataset in knowing if dataset.role == role) for role in ROLES)])
        self.tables.append(table)
        try:
            self._count_steps()
        except Exception as error:
            self.problems.append(f'the steps can not be counted: {type(error).__name__}: {error}')

    def _count_steps(self) -> None:
        sources = {key: CheckedImages(dataset.parts) for key, dataset in self.opened.items()}
        scenario = build_scenario(self.cfg)
        table = PrettyTable(['step', 'new classes', 'train images', 'test images'], align='r')
        self.tables.append(table)
        maps: Set[Tuple[str, str]] = set()
        for split in scenario:
            config = step_config(self.cfg, scenario, split.step)
            counts: List[Any] = []
            for role in ROLES:
                data = config[f'{role}_dataloader']['dataset']
                source = sources[text_of(data['dataset'])]
                settings = {key: data[key] for key in ('domains', 'listed') if key in data}
                try:
                    chosen = source.select(build_view(data['view']), split, **settings)
                    counts.append(len(chosen))
                    if 'saliency' in data:
                        maps.update(source.saliency_maps(chosen, data['saliency']))
                except ValueError as error:
                    self.problems.append(str(error).rstrip('.'))
                    counts.append('-')
            if counts[1] == 0:
                self.problems.append(f'step {split.step} has no test image with a class of {list(split.seen)}')
            table.add_row([split.step, len(split.new), *counts])
        try:
            check_saliency(sorted(maps))
        except ValueError as error:
            self.problems.append(str(error).rstrip('.'))


def text_of(dataset: Mapping[str, Any]) -> str:
    """A data set's config as text, by which equal ones are known."""
    return repr(plain(dataset))
