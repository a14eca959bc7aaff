"""The model of the step before, rebuilt from its tensors."""
from __future__ import annotations

import copy
from typing import Mapping

from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from .growing import inherits, reserved_rows
from .growth import growing_tensors


def narrowed(model: EncoderDecoder, old: Mapping[str, Tensor], num_old: int) -> EncoderDecoder:
    """A copy of ``model``, which has grown, with the ``num_old`` classes and the state dict ``old`` of the step before.

    Raises:
        ValueError: ``old`` is of another model, or of one whose modules
            change from step to step.
    """
    if inherits(model):
        raise ValueError('previous: got a hand-over file, but a classifier with modules for each step can not be rebuilt from '
                         'tensors; give the model of the step before, or its StepSession.')
    old, axes = growing_tensors(model, old, num_old)
    before, wide, narrow = copy.deepcopy(model), model.num_classes, num_old + reserved_rows(model)
    for module in before.modules():
        if getattr(module, 'num_classes', None) == wide:
            module.num_classes = narrow
            if getattr(module, 'out_channels', None) == wide:
                module.out_channels = narrow
    for name in {**axes.rows, **axes.columns}:
        owner, _, last = name.rpartition('.')
        module = before.get_submodule(owner)
        tensor = old[name].to(getattr(module, last))
        setattr(module, last, nn.Parameter(tensor) if isinstance(getattr(module, last), nn.Parameter) else tensor)
        if isinstance(module, nn.LayerNorm):  # over the classes (Segmenter)
            module.normalized_shape = tuple(tensor.shape)
    before.load_state_dict(old, strict=True)
    return before
