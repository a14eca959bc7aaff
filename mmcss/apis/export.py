"""Writes a trained step as a config and a checkpoint of plain MMSegmentation."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmseg import apis
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor

from ..engine.config_nodes import class_of, walk
from ..files import PathLike, written_whole
from ..models.part_modules import stock_tensors
from .inference import build_step, inference_model
from .steps import TrainedStep, find_step, read_step

SIZE = (512, 512)


class PlainModel(NamedTuple):
    """What :func:`export_step` has written.

    Attributes:
        config: For :func:`mmseg.apis.init_model`, ``MMSegInferencer`` and MMSegmentation's tools.
        checkpoint: The weights, with ``classes`` and ``palette`` in its ``dataset_meta``.
        needs: Packages that have to be installed where it is loaded, besides MMSegmentation and what it takes models from.
        types: The types of mmcss among its modules.
    """

    config: Path
    checkpoint: Path
    needs: List[str]
    types: List[str]


def export_step(source: PathLike, out: PathLike, step: Optional[int] = None,
                size: Optional[Tuple[int, int]] = None) -> Tuple[PlainModel, BaseSegmentor]:
    """Write a trained step for stock MMSegmentation, load what was written, and compare what both predict.

    Args:
        source, step: See :func:`find_step`.
        out: Folder to write into. The files are named after the hand-over.
        size: Height and width of the random image that both segment; None for :func:`size_of`.

    Returns:
        What was written, and the step's model on the CPU.

    Raises:
        FileNotFoundError: The step is not there.
        ValueError: It is damaged, or the written model predicts something else.
    """
    files = find_step(source, step)
    trained = read_step(files)
    model = build_step(trained, 'cpu', files.hand_over)
    config = _plain_config(trained)
    paths = Path(out, f'{files.hand_over.stem}.py'), Path(out, files.hand_over.name)
    if paths[1].resolve() == files.hand_over.resolve():
        raise ValueError(f'{out} is the folder of {files.hand_over}, which would be overwritten. Choose another one.')
    Path(out).mkdir(parents=True, exist_ok=True)
    config.dump(str(paths[0]))
    with written_whole(paths[1]) as file:
        torch.save(dict(state_dict=stock_tensors(trained.state_dict),
                        meta=dict(dataset_meta=trained.meta, classes=trained.meta['classes'])), file)
    _compare(model, apis.init_model(str(paths[0]), str(paths[1]), device='cpu'), size or size_of(model), paths[0])
    nodes = [(MODELS, node) for node in walk(config.model)] + [(TRANSFORMS, node) for node in config.test_pipeline]
    own = sorted({node['type'] for registry, node in nodes
                  if 'type' in node and getattr(class_of(registry, node['type']), '__module__', '').startswith('mmcss.')})
    return PlainModel(*paths, list((config.get('custom_imports') or {}).get('imports', [])), own), model


def size_of(model: BaseSegmentor) -> Tuple[int, int]:
    """Height and width that a model was made for: its test windows, or its training crops; else 512 x 512."""
    given = model.test_cfg.get('crop_size') or model.cfg.model.get('data_preprocessor', {}).get('size') or SIZE
    return (given[0], given[1])


def _plain_config(trained: TrainedStep) -> Config:
    """The step's config without the places of the user's data."""
    plain: Dict[str, Any] = copy.deepcopy(trained.config._cfg_dict.to_dict())
    meta = {key: trained.meta[key] for key in ('classes', 'palette')}
    plain['test_dataloader'] = dict(plain['test_dataloader'], dataset=dict(
        type='BaseSegDataset', metainfo=meta, test_mode=True, pipeline=copy.deepcopy(plain['test_pipeline'])))
    plain['label_values'] = trained.meta['label_values']
    return Config(plain)


def _compare(model: BaseSegmentor, written: BaseSegmentor, size: Tuple[int, int], path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    logits: List[Tensor] = []
    for each in (model, written):
        torch.manual_seed(0)  # some heads draw bases at each call
        prediction: Any = inference_model(each, image)
        logits.append(prediction.seg_logits.data)
    difference = float((logits[0] - logits[1]).abs().max())
    if not difference <= 1e-5 * float(logits[0].abs().max()):
        raise ValueError(f'{path} and the checkpoint beside it predict otherwise than the step: logits differ by up to '
                         f'{difference:.2g} on a random image. Please report it, with the config of the run.')
