"""``memory.json`` files as a run writes them."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable

from mmcss.datasets import LabelledImages
from mmcss.datasets.sources import file_values, image_names
from mmcss.memory import Exemplar, Memory, Source
from mmcss.memory.places import digest_of


def write_memory(path: Path, config: Any, exemplars: Iterable[Exemplar], **counts: Any) -> str:
    """Write the memory of exemplars, by leaf and name, of the data set of a config.

    One that the data set does not have is of another data set, which is gone.
    """
    images = LabelledImages(config)
    Memory([_with_source(images, exemplar) for exemplar in exemplars], **counts).save(path)
    return str(path)


def _with_source(images: LabelledImages, exemplar: Exemplar) -> Exemplar:
    if exemplar.source is not None:
        return exemplar
    for leaf in images.leaves[exemplar.leaf:exemplar.leaf + 1]:
        if exemplar.name in image_names(leaf):
            info = leaf.get_data_info(image_names(leaf).index(exemplar.name))
            files = info['img_path'], info['seg_map_path']
            return replace(exemplar, source=Source(*files, digest_of(leaf, *files), file_values(images.names, info)))
    files = f'gone/images/{exemplar.name}', f'gone/labels/{exemplar.name}'
    return replace(exemplar, source=Source(*files, '0' * 32, images.names.raw_ids))
