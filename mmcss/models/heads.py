"""Decode heads that need special treatment, by name.

All else is derived from the model itself. A head goes by the name of its class
and of those that it inherits from.
"""
from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

import torch
import torch.nn as nn
from mmengine.model import BaseModule
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

# Which of several training outputs holds the logits of the whole map.
MAIN_OUTPUT = {'PIDHead': 1, 'IterativeDecodeHead': -1}
# Heads that classify masks: each query has logits of the classes and, last, of "no object".
MASK_HEADS = ('MaskFormerHead', 'Mask2FormerHead')
# Heads that refine single points of the map of the head before them, whose logits are their last input channels.
POINT_HEADS = ('PointHead', )
# Heads whose two classes are edge and no edge.
BOUNDARY_HEADS = ('STDCHead', )

OLD_LOGITS_CHANGE = 'new classes change the logits of old ones before any training: '
WARNINGS = {
    'SegmenterMaskTransformerHead': OLD_LOGITS_CHANGE + 'its LayerNorm and its attention run over all classes',
    'IterativeDecodeHead': OLD_LOGITS_CHANGE + 'its kernels attend to those of all classes',
    'OCRHead': OLD_LOGITS_CHANGE + 'its context is gathered from the regions of all classes',
    'PointHead': 'the points that it refines are chosen by the logits of all classes',
    'LightHamHead': 'it draws random bases at each call (rand_init), so that no two predictions of an image are equal',
}


def names_of(head: BaseModule) -> Tuple[str, ...]:
    """The names of a head's class and of those that it inherits from."""
    return tuple(cls.__name__ for cls in type(head).__mro__)


def is_a(head: BaseModule, names: Tuple[str, ...]) -> bool:
    """Whether a head goes by any of these names."""
    return any(name in names for name in names_of(head))


def decode_heads(segmentor: EncoderDecoder) -> List[BaseModule]:
    """The decode heads of a segmentor, the final one last."""
    head = segmentor.decode_head
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def map_head(segmentor: EncoderDecoder) -> BaseModule:
    """The last decode head with logits of the whole map, which student and teacher are compared by."""
    return [head for head in decode_heads(segmentor) if not is_a(head, POINT_HEADS)][-1]


def main_logits(head: BaseModule, output: Any) -> Tensor:
    """The logits of the whole map among what a decode head's ``forward`` returned."""
    if is_a(head, MASK_HEADS):
        return mask_logits(output[0][-1], output[1][-1])
    if isinstance(output, (tuple, list)):
        return output[next((MAIN_OUTPUT[name] for name in names_of(head) if name in MAIN_OUTPUT), 0)]
    return output


def mask_logits(class_logits: Tensor, masks: Tensor) -> Tensor:
    """Logits of each pixel from those of a head that classifies masks.

    Such a head scores a class at a pixel by the sum, over its queries, of the
    class's probability times the mask's (Cheng et al., NeurIPS 2021, section
    3.4). The softmax of the logarithms of these scores is proportional to
    them.

    Args:
        class_logits: ``[N, Q, C + 1]``, "no object" last.
        masks: ``[N, Q, h, w]`` logits.

    Returns:
        ``[N, C, h, w]``.
    """
    classes = class_logits.float().softmax(dim=-1)[..., :-1]
    with torch.autocast(masks.device.type, enabled=False):  # sums in full precision
        scores = torch.einsum('nqc,nqhw->nchw', classes, masks.float().sigmoid())
    return scores.clamp_min(1e-6).log()


def embedding_reader(head: BaseModule) -> BaseModule:
    """The module of a decode head whose first input is its embedding; of a head that classifies masks the first output.

    Raises:
        ValueError: The head has no such module.
    """
    if is_a(head, MASK_HEADS):
        return head.pixel_decoder
    head = getattr(head, 'kernel_generate_head', head)  # K-Net
    for name in ('patch_proj', 'dropout', 'conv_seg'):  # the first one is Segmenter's, which reads tokens
        module = getattr(head, name, None)
        if module is not None:
            return module
    raise ValueError(f'{type(head).__name__} has neither dropout nor conv_seg, so its embedding is not known; '
                     'use a decode head with the layers of BaseDecodeHead, or a method without embedding.')


def output_layer(head: BaseModule) -> nn.Module:
    """The 1x1 convolution (``conv_seg``) that computes a decode head's logits, or its replacement.

    Raises:
        ValueError: The head has none.
    """
    layer = getattr(head, 'conv_seg', None)
    if layer is None:
        raise ValueError(f'{type(head).__name__} has no conv_seg that gives its logits; '
                         'use a decode head with the layers of BaseDecodeHead.')
    return layer


class SpecialAxes(NamedTuple):
    """Tensors with a dimension that holds more than the classes, by prefixes of their names.

    Attributes:
        no_object: Another row follows those of the classes.
        inputs: Class logits are the last input channels.
    """

    no_object: Tuple[str, ...] = ()
    inputs: Tuple[str, ...] = ()


def special_axes(model: EncoderDecoder) -> SpecialAxes:
    """The :class:`SpecialAxes` of a segmentor."""
    no_object, inputs = (tuple(f'{name}.' for name, module in model.named_modules() if is_a(module, heads))
                         for heads in (MASK_HEADS, POINT_HEADS))
    return SpecialAxes(no_object, inputs)


def warnings_of(segmentor: EncoderDecoder) -> Dict[str, str]:
    """Warnings about a segmentor that learns step by step, by name of the head."""
    return {name: WARNINGS[name] for head in decode_heads(segmentor) for name in names_of(head) if name in WARNINGS}
