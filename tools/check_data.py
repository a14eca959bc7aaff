"""Checks a tree of images and label maps before a run: no model, no training.

Prints what training and test data hold: files, sizes, images of each class and
of each step of the scenario. Ends with what there is to mend, and exit status
1 if there is anything.
"""
from __future__ import annotations

import argparse
import copy
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from _config import add_config, read_config

import numpy as np
from mmcss.datasets import ClassNames, LabelledImages, build_view, check_saliency, name_classes, presence_table
from mmcss.datasets.label_values import ignored_values, other_numbers, without_classes
from mmcss.datasets.lists import check_list
from mmcss.datasets.readers import ImageReader
from mmcss.engine import build_scenario, step_config
from mmcss.engine.stated_classes import leaf_configs, with_clean_names
from mmcss.files import plain
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from prettytable import PrettyTable

ROLES = ('train', 'test')
FOLDERS = ('img_path', 'seg_map_path')
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


class Checker:
    """Looks at the data of a config.

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


def absent_places(prefix: Mapping[str, str], ann_file: str) -> List[str]:
    """Folders and lists of files that are not there."""
    places = [(f'data_prefix.{key}', prefix[key], os.path.isdir) for key in FOLDERS if prefix.get(key)]
    places.append(('ann_file', ann_file, os.path.exists))
    return [f'there is no {place}; mend data_root or {key}, or put the data there'
            for key, place, exists in places if place and '://' not in place and not exists(place)]


def is_missing(path: str) -> bool:
    """Whether a file of this machine is not there."""
    return '://' not in path and not os.path.exists(path)


def more(number: int) -> str:
    """What stands behind the first of several."""
    return f' (and {number - 1} more like it)' if number > 1 else ''


def files_below(folder: str, suffix: str) -> List[str]:
    """Files of a folder and of those in it, without folder and suffix, sorted."""
    paths = (os.path.relpath(os.path.join(parent, name), folder)
             for parent, _, names in os.walk(folder, followlinks=True) for name in names if name.endswith(suffix))
    return sorted(path[:len(path) - len(suffix)] for path in paths)


def label_maps(leaf: BaseDataset) -> Tuple[Optional[int], List[str]]:
    """Number of label maps in a data set's folder, None where it is not known, and those without an image."""
    suffixes = [getattr(leaf, name, None) for name in ('img_suffix', 'seg_map_suffix')]
    folders = [getattr(leaf, 'data_prefix', {}).get(key) for key in FOLDERS]
    if None in suffixes or not all(folders) or any('://' in folder for folder in folders):
        return None, []
    images, maps = (files_below(folder, suffix) for folder, suffix in zip(folders, suffixes))
    known = set(images)
    return len(maps), [os.path.join(folders[1], stem + suffixes[1]) for stem in maps if stem not in known]


def sizes(infos: Sequence[Mapping[str, Any]]) -> str:
    """Smallest and largest label map, by its pixels, and how many sizes there are."""

    def size_of(info: Mapping[str, Any]) -> Optional[Tuple[int, int]]:
        try:
            with Image.open(info['seg_map_path']) as opened:
                return opened.size
        except Exception:  # which the scan reports
            return None

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        distinct = sorted(set(pool.map(size_of, infos)) - {None}, key=lambda size: (size[0] * size[1], size))
    if not distinct:
        return '-'
    texts = [f'{width} x {height}' for width, height in distinct]
    return texts[0] if len(texts) == 1 else f'{texts[0]} to {texts[-1]}, {len(texts)} different'


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    parser.add_argument('--images', action='store_true',
                        help='decode all images too, and compare their sizes with those of the label maps')
    args = parser.parse_args(arguments)
    warnings.simplefilter('ignore')
    init_default_scope('mmseg')
    checker = Checker(read_config(args.config, args), args.images)
    checker.run()
    print('\n'.join(table.get_string() for table in checker.tables))
    problems = list(dict.fromkeys(checker.problems))  # train and test data may share a folder
    if problems:
        print(f'\nwhat to mend ({len(problems)}):\n' + '\n'.join(f'- {problem}.' for problem in problems))
        sys.exit(1)
    print('\nnothing to mend')


if __name__ == '__main__':
    main()
