"""The class names that a config states for its data sets, read without opening these."""
from __future__ import annotations

import warnings
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Type, TypeVar

from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process
from mmengine.fileio import list_from_file
from mmseg.registry import DATASETS

from ..arguments import arguments_of, did_you_mean
from ..datasets import BACKGROUND, ClassNames, clean_names, is_nothing, name_classes
from .config_nodes import class_of

Config = Mapping[str, Any]
ConfigT = TypeVar('ConfigT', bound=Config)


def leaf_configs(dataset: ConfigT) -> Iterator[ConfigT]:
    """The configs of the stock data sets inside wrappers."""
    if 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from leaf_configs(inner)
    elif 'dataset' in dataset:
        yield from leaf_configs(dataset['dataset'])
    else:
        yield dataset


def with_clean_names(dataset: Config) -> Dict[str, Any]:
    """The config of a stock data set or of wrappers around some, with clean class names and the background's common name.

    The stock data set would take a byte order mark and spaces in a file of names for parts of them, and data sets are
    concatenated only if their class names are equal.
    """
    if 'datasets' in dataset:
        return dict(dataset, datasets=[with_clean_names(inner) for inner in dataset['datasets']])
    if 'dataset' in dataset:
        return dict(dataset, dataset=with_clean_names(dataset['dataset']))
    names = _config_names(dataset)
    if names and not _type_of(dataset).METAINFO.get('classes'):  # a config's names have to be among those of the type
        names = list(name_classes(names, False).listed)
    if names is None or list(dataset['metainfo']['classes']) == names:
        return dict(dataset)
    return dict(dataset, metainfo=dict(dataset['metainfo'], classes=names))


def stated_names(dataset: Config, role: str = 'train') -> ClassNames:
    """The classes of a data set, by its config or its type; ``role`` is that of its data loader, for errors.

    Raises:
        ValueError: They are not known, or the names are invalid.
    """
    leaf = next(leaf_configs(dataset))
    names = _config_names(leaf) or _type_of(leaf).METAINFO.get('classes')
    if not names:
        raise ValueError(f"the class names of {leaf['type']} are not known: give metainfo=dict(classes=[...]) "
                         f'in {role}_dataloader.dataset.')
    kind: Callable[..., BaseDataset] = _type_of(leaf)
    by_type = arguments_of(kind).get('reduce_zero_label')
    return name_classes(names, bool(leaf.get('reduce_zero_label', by_type is not None and by_type.default)))


def check_test_names(cfg: Config, names: ClassNames) -> None:
    """Make sure that test data have a background if and only if training data have one.

    Raises:
        ValueError: They differ, so that the same label value would stand for different classes.
    """
    for role in ('val', 'test'):
        loader = cfg.get(f'{role}_dataloader')
        tested = stated_names(loader['dataset'], role) if loader else names
        if (BACKGROUND in tested.raw_ids) != (BACKGROUND in names.raw_ids):
            raise ValueError(f'{role}_dataloader.dataset: got the label values {_label_values(tested)}, expected those of '
                             f'train_dataloader, {_label_values(names)}; give both the same metainfo and reduce_zero_label.')


def _label_values(names: ClassNames) -> str:
    return ', '.join(f'{value} {name!r}' for name, value in list(names.raw_ids.items())[:3]) + ', ...'


def warn_of_background(names: ClassNames) -> None:
    """Warn, on the main process, of a class that is taken for the background, or may be meant as it."""
    if not is_main_process():
        return
    if names.spelling != BACKGROUND:
        warnings.warn(f'metainfo.classes: {names.spelling!r}, label value {names.raw_ids[BACKGROUND]}, is taken for the '
                      f'background; steps and checkpoints call it {BACKGROUND!r}.')
    elif BACKGROUND not in names.raw_ids and is_nothing(names.listed[0]):
        warnings.warn(f'metainfo.classes: {names.listed[0]!r}, label value 0, is learned like any class. If it stands for '
                      f'pixels of no class, call it {BACKGROUND!r}.')


def _config_names(leaf: Config) -> Optional[List[str]]:
    """The clean names that a config itself states; None for none."""
    stated = (leaf.get('metainfo') or {}).get('classes')
    if not stated:
        return None
    if isinstance(stated, str):  # a file of names, as mmengine takes it
        try:
            stated = list_from_file(stated)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f'metainfo.classes: {stated!r} cannot be read as a text file (UTF-8) with one name a line: '
                             f'{error}. Mend it, or give a list of names.') from error
    return clean_names(stated, as_written=_type_of(leaf).METAINFO.get('classes') or ())


def _type_of(leaf: Config) -> Type[BaseDataset]:
    cls = class_of(DATASETS, leaf['type'])
    if cls is None:
        raise ValueError(f"train_dataloader.dataset.type: got {leaf['type']!r}, which is not registered"
                         f"{did_you_mean(leaf['type'], DATASETS.module_dict)}; valid are data sets of MMSegmentation, "
                         'and those of custom_imports.')
    return cls
