"""Stock segmentors with an unknown class, or with another classifier."""
from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, TypeAlias

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .growing import GrowingModule, growing
from .heads import decode_heads, output_layer

if TYPE_CHECKING:  # what the mixins are mixed with
    Stock: TypeAlias = EncoderDecoder
else:
    Stock = GrowingModule  # which segmentors are as well

DEFAULT_SCORES = 'sigmoid'


def with_background(logarithms: Tensor) -> Tensor:
    """Logarithms of scores; the unknown's score is added to the background's."""
    # Not logaddexp, which ONNX does not have.
    background = torch.cat((logarithms[:, :1], logarithms[:, -1:]), dim=1).logsumexp(dim=1, keepdim=True)
    return torch.cat((background, logarithms[:, 1:-1]), dim=1)


# From logits of all channels to logarithms of the scores of the classes; of a softmax without the common divisor.
UNKNOWN_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    # The logarithm of the sigmoid, which ONNX would compute as such: infinite where the sigmoid underflows.
    'sigmoid': lambda logits: with_background(-F.softplus(-logits)), 'softmax': with_background,
    'none': lambda logits: logits[:, :-1]}


class ExtendedMixin(Stock):
    """Two options that stock segmentors lack.

    Predictions (``mode='predict'``) and exports (``mode='tensor'``) have the
    channels of the classes only. ``encode_decode``, which training uses, has
    the unknown's channel too, and the scores that a classifier is trained with.

    Args:
        unknown: Whether the last channel is the unknown class (SSUL), which
            predictions merge with the background or leave out.
        unknown_scores: How they do, see :func:`merge_unknown`.
        classifier: Config of the module that replaces the final decode head's
            1x1 convolution, without ``in_channels`` and ``num_classes``; None
            for the convolution.
    """

    unknown = False

    def __init__(self, *args: Any, unknown: bool = False, unknown_scores: str = DEFAULT_SCORES,
                 classifier: Optional[Mapping[str, Any]] = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if unknown_scores not in UNKNOWN_SCORES:
            raise ValueError(f'unknown_scores: got {unknown_scores!r}, valid are {", ".join(UNKNOWN_SCORES)}.')
        self.unknown, self.reserved_rows = unknown, int(unknown)
        self.unknown_scores = unknown_scores
        if classifier is not None:
            head = decode_heads(self)[-1]
            head.conv_seg = MODELS.build(
                dict(classifier, in_channels=output_layer(head).in_channels, num_classes=head.num_classes))

    def inference(self, inputs: Tensor, batch_img_metas: List[Dict[str, Any]]) -> Tensor:
        """The stock model's, with classifiers in their predicting mode."""
        with predicting(self):
            return super().inference(inputs, batch_img_metas)

    def _forward(self, inputs: Tensor, data_samples: Optional[Sequence[SegDataSample]] = None) -> Tensor:
        """Likewise; if there is an unknown class, merged logits ``[N, C, H, W]`` at the size of the images.

        Merging at the decode head's resolution would give other sums.
        """
        with predicting(self):
            if not self.unknown:
                return super()._forward(inputs, data_samples)
            size = inputs.shape[2:]
            metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(inputs)
            return merge_unknown(self.encode_decode(inputs, metas), self.unknown_scores)

    def postprocess_result(self, seg_logits: Tensor, data_samples: Optional[Sequence[SegDataSample]] = None
                           ) -> List[SegDataSample]:
        """The stock model's, after an unknown class is merged."""
        if self.unknown:
            seg_logits = merge_unknown(seg_logits, self.unknown_scores)
        return super().postprocess_result(seg_logits, data_samples)


@contextmanager
def predicting(model: EncoderDecoder) -> Iterator[None]:
    """Within it, growing modules are in their predicting mode."""
    for module in growing(model).values():
        module.predicting = True
    try:
        yield
    finally:
        for module in growing(model).values():
            module.predicting = False


def merge_unknown(logits: Tensor, scores: str = DEFAULT_SCORES) -> Tensor:
    """Scores of the classes alone, in which unknown is background (SSUL, Cha et al., NeurIPS 2021, section 3.2).

    Args:
        logits: ``[N, C + 1, H, W]`` raw scores: background, classes, unknown.
        scores: The scores that are added up: 'sigmoid', as in the paper;
            'softmax', for a model that is trained with cross-entropy (the
            paper's table 3); 'none' leaves out the unknown.

    Returns:
        ``[N, C, H, W]`` logarithms of sigmoids, or of a softmax without the
        common divisor; the background's is that of the sum of background and
        unknown. With 'none' the logits of the classes.
    """
    return UNKNOWN_SCORES[scores](logits)


@MODELS.register_module()
class ExtendedEncoderDecoder(ExtendedMixin, EncoderDecoder):
    """:class:`mmseg.models.EncoderDecoder` with the options of :class:`ExtendedMixin`."""


@MODELS.register_module()
class ExtendedCascadeEncoderDecoder(ExtendedMixin, CascadeEncoderDecoder):
    """:class:`mmseg.models.CascadeEncoderDecoder` with the options of :class:`ExtendedMixin`."""
