"""Writes a trained step as ONNX, and checks it by onnxruntime."""
from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from ..files import PathLike, written_whole
from ..models.extended_segmentors import merge_unknown, predicting
from .export import size_of

Axes = Dict[int, str]
# Writes a module, with images of one size, as a file.
Exporter = Callable[[nn.Module, Tensor, Axes, str], None]

OPSET, OPSET_OF_NEWER = 17, 18
INPUT, OUTPUT = 'images', 'logits'
# Largest difference from PyTorch's logits, relative to the largest of them.
TOLERANCE = 1e-4
# What may vary, by number of the dimension: not every model is written soundly for any size.
ANY_SIZE: Axes = {0: 'N', 2: 'H', 3: 'W'}
ANY_NUMBER: Axes = {0: 'N'}
NOTHING: Axes = {}
# How much larger the second image is that a file for any size is tried on.
LARGER = (32, 64)


class OnnxFile(NamedTuple):
    """What :func:`export_onnx` has written.

    Attributes:
        path: Of the file.
        shape: Of its input: letters for what may vary.
        difference: Largest difference from PyTorch's logits.
        relative: The same, divided by the largest absolute value of these.
    """

    path: Path
    shape: Tuple[Any, ...]
    difference: float
    relative: float


class LogitsOfImages(nn.Module):
    """A segmentor as a function of plain images: normalisation inside, an unknown class merged, logits at their size.

    Args:
        model: From :func:`mmcss.apis.init_model`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: BaseSegmentor) -> None:
        super().__init__()
        self.model = model
        settings = model.cfg.model.get('data_preprocessor') or {}
        self.reads_rgb = bool(settings.get('bgr_to_rgb') or settings.get('rgb_to_bgr'))
        for key, default in (('mean', [0.]), ('std', [1.])):
            value = torch.tensor(settings.get(key) or default, dtype=torch.float32)
            self.register_buffer(key, value.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """``[N, C, H, W]`` logits of ``[N, 3, H, W]`` float32 RGB images in 0 to 255."""
        inputs = ((images if self.reads_rgb else images.flip(1)) - self.mean) / self.std
        size = inputs.shape[2:]
        with predicting(self.model):
            logits = self.model.encode_decode(inputs, [dict(ori_shape=size, img_shape=size, pad_shape=size)])
        return merge_unknown(logits, self.model.unknown_scores) if getattr(self.model, 'unknown', False) else logits


def export_onnx(model: BaseSegmentor, path: PathLike, size: Optional[Tuple[int, int]] = None) -> OnnxFile:
    """Write a model as ONNX, and compare its logits with those that the model predicts.

    The file takes ``images``, ``[N, 3, H, W]`` float32 RGB in 0 to 255, and gives ``logits``, ``[N, C, H, W]``. Its
    metadata have ``classes``, ``palette`` and ``label_values`` as JSON. Batch, height and width may vary where the model
    can be written so: the file is tried on two sizes.

    Args:
        model: From :func:`mmcss.apis.init_model`, on the CPU.
        path: The file.
        size: Height and width to write it for; None for :func:`size_of`.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        ValueError: The model can't be written, or the file gives other logits.
    """
    missing = [name for name in ('onnx', 'onnxruntime') if find_spec(name) is None]
    if missing:
        raise ImportError(f"ONNX needs {' and '.join(missing)}, not installed here: pip install 'mmcss[export]'.")
    size = size or size_of(model)
    problem = ''
    for exporter, axes in _attempts():
        try:
            content = _written(model, size, axes, exporter)
            difference, largest = _compare(model, content, size, axes)
        except Exception as error:  # of exporter or runtime, which have no common one
            problem = f'{type(error).__name__}: {(str(error).splitlines() or [""])[0][:200]}'
            continue
        if difference <= TOLERANCE * largest:
            with written_whole(path) as file:
                file.write(content)
            shape = tuple(axes.get(i, length) for i, length in enumerate((1, 3, *size)))
            return OnnxFile(Path(path), shape, difference, difference / largest)
        problem = f'its logits differ by {difference:.2g}, {difference / largest:.2g} of the largest'
    raise ValueError(f'the model can not be written as ONNX for images of {size[0]} x {size[1]} ({problem}). Try another '
                     '--size, or load the exported config and checkpoint in MMSegmentation.')


def _attempts() -> List[Tuple[Exporter, Axes]]:
    """Ways to write a model, best first.

    PyTorch's older exporter takes seconds. Some operators only the newer one has, which takes minutes: it is not asked for
    any size.
    """
    newer = 'dynamo' in inspect.signature(torch.onnx.export).parameters and find_spec('onnxscript') is not None
    attempts = [(_trace, ANY_SIZE), (_trace, ANY_NUMBER), (_export, ANY_NUMBER), (_trace, NOTHING), (_export, NOTHING)]
    return [attempt for attempt in attempts if newer or attempt[0] is not _export]


def _trace(model: nn.Module, images: Tensor, axes: Axes, path: str) -> None:
    kind: Dict[str, Any] = dict(dynamo=False) if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(model, (images, ), path, input_names=[INPUT], output_names=[OUTPUT], opset_version=OPSET,
                      dynamic_axes={INPUT: axes, OUTPUT: axes}, **kind)


def _export(model: nn.Module, images: Tensor, axes: Axes, path: str) -> None:
    sizes = {axis: torch.export.Dim(name) for axis, name in axes.items()}
    torch.onnx.export(model, (images, ), path, input_names=[INPUT], output_names=[OUTPUT], opset_version=OPSET_OF_NEWER,
                      dynamic_shapes=(sizes, ), dynamo=True, external_data=False, verbose=False)


def _written(model: BaseSegmentor, size: Tuple[int, int], axes: Axes, exporter: Exporter) -> bytes:
    """The bytes of an ONNX file."""
    import onnx
    with tempfile.TemporaryDirectory() as folder, _silence():
        path = str(Path(folder, 'model.onnx'))
        exporter(LogitsOfImages(model).eval(), torch.zeros(2 if 0 in axes else 1, 3, *size), axes, path)
        written = onnx.load(path)
    onnx.helper.set_model_props(written, {key: json.dumps(value) for key, value in model.dataset_meta.items()})
    return written.SerializeToString()


@contextmanager
def _silence() -> Iterator[None]:
    """Within it an exporter prints neither its warnings, whose causes :func:`_compare` finds, nor the network when it fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    streams = {number: os.dup(number) for number in (1, 2)}  # it prints the network past Python's own
    with open(os.devnull, 'w') as nothing, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            for number in streams:
                os.dup2(nothing.fileno(), number)
            yield
        finally:
            for number, stream in streams.items():
                os.dup2(stream, number)
                os.close(stream)


def _compare(model: BaseSegmentor, content: bytes, size: Tuple[int, int], axes: Axes) -> Tuple[float, float]:
    """The largest difference between the file's logits and the model's, and the largest of these, over all that may vary."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised too
    session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    shapes = [(1, *size)]
    if 0 in axes:
        shapes.append((2, *size))
    if 2 in axes:
        shapes.append((2, size[0] + LARGER[0], size[1] + LARGER[1]))
    pairs = []
    for shape in shapes:
        images = np.random.default_rng(0).integers(0, 256, (shape[0], 3, *shape[1:]), dtype=np.uint8)
        pairs.append((session.run([OUTPUT], {INPUT: images.astype(np.float32)})[0], _predicted(model, images)))
    if any(found.shape != expected.shape for found, expected in pairs):
        raise ValueError(f'got logits of shapes {[found.shape for found, _ in pairs]}, expected '
                         f'{[expected.shape for _, expected in pairs]}')
    return (max(float(np.abs(found - expected).max()) for found, expected in pairs),
            max(float(np.abs(expected).max()) for _, expected in pairs))


def _predicted(model: BaseSegmentor, images: np.ndarray) -> np.ndarray:
    """What the model itself predicts of ``[N, 3, H, W]`` uint8 RGB images as a whole: ``[N, C, H, W]``."""
    with torch.no_grad(), _whole(model):
        batch = model.data_preprocessor(dict(inputs=[torch.from_numpy(image[::-1].copy()) for image in images]), False)
        return np.stack([sample.seg_logits.data.numpy() for sample in model.predict(batch['inputs'])])


@contextmanager
def _whole(model: BaseSegmentor) -> Iterator[None]:
    """Within it a model segments whole images, not windows of them."""
    settings = model.test_cfg
    model.test_cfg = type(settings)(settings, mode='whole')
    try:
        yield
    finally:
        model.test_cfg = settings
