"""Loading a trained step and segmenting images with it, as MMSegmentation's own ``mmseg.apis`` do."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import List, Optional, Sequence, Union

import numpy as np
import torch
from mmseg import apis
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample

from ..files import PathLike
from ..models.part_modules import stock_tensors
from .steps import TrainedStep, find_step, read_step

Image = Union[PathLike, np.ndarray]


def init_model(source: PathLike, step: Optional[int] = None, device: Optional[str] = None) -> BaseSegmentor:
    """The model of a trained step, ready to predict.

    Args:
        source, step: See :func:`find_step`: the work_dir of a run, and by default its last trained step.
        device: Such as 'cpu' or 'cuda:0'; None for a GPU if there is one.

    Returns:
        A segmentor as that of :func:`mmseg.apis.init_model`. Its ``dataset_meta`` has ``classes`` and ``palette``, and
        ``label_values`` besides: what the data set's files have for each class.

    Raises:
        FileNotFoundError: The step is not there.
        ValueError: Its hand-over is damaged, or is not of the model of its config.
    """
    files = find_step(source, step)
    return build_step(read_step(files), device or ('cuda:0' if torch.cuda.is_available() else 'cpu'), files.hand_over)


def build_step(trained: TrainedStep, device: str, name: PathLike) -> BaseSegmentor:
    """The model of a step that was read; ``name`` is that of its file, for errors."""
    model = apis.init_model(copy.deepcopy(trained.config), None, device=device)
    try:
        missing = model.load_state_dict(stock_tensors(trained.state_dict), strict=False).missing_keys
    except RuntimeError as error:  # tensors of other shapes
        raise ValueError(f'{name} is not of the model that the config beside it describes: {error}') from error
    if missing:
        raise ValueError(f'{name} is not of the model that the config beside it describes: it lacks {", ".join(missing[:4])}. '
                         'Put the config and the hand-over of one step together.')
    model.dataset_meta = trained.meta
    return model


def inference_model(model: BaseSegmentor, images: Union[Image, Sequence[Image]]) -> Union[SegDataSample, List[SegDataSample]]:
    """Segment images.

    Args:
        model: From :func:`init_model`.
        images: One or several: paths, or ``[H, W, 3]`` uint8 BGR arrays, as OpenCV reads images. They may have different
            sizes.

    Returns:
        One or several samples with ``pred_sem_seg`` (``[1, H, W]`` indices of classes in the order in which they were
        learned; see :func:`label_map`) and ``seg_logits`` (``[C, H, W]``), of the images' sizes.
    """
    if isinstance(images, (list, tuple)):  # one by one: images of different sizes don't fit into one batch
        return [inference_model(model, image) for image in images]
    config = model.cfg
    # The stock function changes the config that it is given: after an array it could read no file.
    model.cfg = copy.deepcopy(config)
    try:
        return apis.inference_model(model, str(images) if isinstance(images, Path) else images)
    finally:
        model.cfg = config


def label_map(model: BaseSegmentor, prediction: SegDataSample) -> np.ndarray:
    """A prediction in the numbers of the data set.

    Args:
        model: From :func:`init_model`.
        prediction: From :func:`inference_model`.

    Returns:
        ``[H, W]`` uint8 label map as the data set has them, 255 where a class has no number there.
    """
    return np.array(model.dataset_meta['label_values'], np.uint8)[class_indices(prediction)]


def class_indices(prediction: SegDataSample) -> np.ndarray:
    """``[H, W]`` indices of classes in the order in which they were learned."""
    return prediction.pred_sem_seg.data[0].cpu().numpy()
