"""The stock data sets below a step, called leaves, and what their images are called."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping

from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmseg.registry import DATASETS

from ..files import plain
from ..scenario import IGNORE
from .class_names import ClassNames


def open_dataset(config: Mapping[str, Any]) -> BaseDataset:
    """Build a stock data set.

    Raises:
        ValueError: It has no images or can't be opened. Names the folders and
            the list of its images; of several in one, those of the one at fault.
    """
    try:
        dataset = DATASETS.build(config)
        dataset.full_init()
    except (AssertionError, ValueError, FileNotFoundError) as error:
        # mmengine's error for an empty data set names none.
        for part in config.get('datasets', [config['dataset']] if 'dataset' in config else []):
            open_dataset(part)
        keys = [key for key in ('data_root', 'data_prefix', 'ann_file') if key in config]
        places = ', '.join(f'{key}={plain(config[key])!r}' for key in keys)
        raise ValueError(f"{config['type']}({places}) has no images, or can't be opened: {error}") from error
    return dataset


def leaves_of(dataset: Any) -> List[BaseDataset]:
    """The stock data sets inside concatenated and repeated ones, in order."""
    if isinstance(dataset, ConcatDataset):
        return [leaf for part in dataset.datasets for leaf in leaves_of(part)]
    if isinstance(dataset, RepeatDataset):
        return leaves_of(dataset.dataset) * dataset.times
    if isinstance(dataset, BaseDataset):
        return [dataset]
    raise TypeError(f'StepDataset takes BaseDataset, ConcatDataset and RepeatDataset, not {type(dataset).__name__}; '
                    'remove other wrappers (MultiImageMixDataset, ClassBalancedDataset).')


def keep_zero(info: Dict[str, Any]) -> Dict[str, Any]:
    """A copy of ``get_data_info`` with value 0 kept: it is the background here."""
    label_map = info.get('label_map')
    if label_map and info.get('reduce_zero_label'):
        # A stock label map of chosen classes does not count value 0.
        label_map = {old + 1: new if new == IGNORE else new + 1 for old, new in label_map.items()}
    return dict(info, label_map=label_map, reduce_zero_label=False)


def file_values(names: ClassNames, info: Dict[str, Any]) -> Dict[str, int]:
    """The value of each class in the file of an image's label map, before the loader renumbers it."""
    in_file = {new: old for old, new in (keep_zero(info).get('label_map') or {}).items()}
    return {name: in_file.get(value, value) for name, value in names.raw_ids.items()}


def image_name(leaf: BaseDataset, info: Dict[str, Any]) -> str:
    """An image's file below its data set's image folder."""
    folder = str(getattr(leaf, 'data_prefix', {}).get('img_path') or '')
    path = str(info['img_path'])
    return path[len(folder):].lstrip('/') if folder and path.startswith(folder) else path


def image_names(leaf: BaseDataset) -> List[str]:
    """The names of all images of a data set, in order."""
    return [image_name(leaf, leaf.get_data_info(i)) for i in range(len(leaf))]
