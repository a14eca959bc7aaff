"""Gradients beside those of the training."""
from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Sequence

import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ..losses.stream_watch import StreamWatch
from .data_pass import bare_model, training_precision


def loss_gradients(runner: Runner, batch: Mapping[str, List[Any]]) -> Dict[nn.Parameter, Tensor]:
    """Gradients of a batch's loss in training mode, over all processes; those of the parameters stay as they are."""
    model, bare, wrapper = runner.model, bare_model(runner), runner.optim_wrapper
    watches = [part for part in bare.method.parts.values() if isinstance(part, StreamWatch)]
    watched = [(watch.confidence, watch.batch) for watch in watches]
    parameters = [p for p in bare.parameters() if p.requires_grad]
    before = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    with training_precision(runner):
        loss, _ = bare.parse_losses(model(**preprocessed(runner, batch), mode='loss'))
    # As a tensor: reading the scale itself would wait for the device.
    scale = wrapper.loss_scaler.scale(torch.ones_like(loss)) if isinstance(wrapper, AmpOptimWrapper) else 1.0
    (loss * scale).backward()
    found = {p: p.grad / scale for p in parameters if p.grad is not None}
    for parameter, gradient in zip(parameters, before):
        parameter.grad = gradient
    for watch, (confidence, seen) in zip(watches, watched):  # it keeps what it saw of the training
        watch.confidence, watch.batch = confidence, seen
    return found


def preprocessed(runner: Runner, batch: Mapping[str, List[Any]]) -> Dict[str, Any]:
    """A batch as the model takes it; the given one stays as it is (padding changes samples in place)."""
    copied = dict(inputs=list(batch['inputs']), data_samples=copy.deepcopy(batch['data_samples']))
    return bare_model(runner).data_preprocessor(copied, True)


@contextmanager
def kept_tensors(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Leave tensors bit by bit as they were before the block."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before):
                tensor.copy_(value)
